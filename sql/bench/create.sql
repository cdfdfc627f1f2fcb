-- From template0: nothing of the owner's own comes along, and nobody can be connected to it.
create database rowcast_bench template template0
