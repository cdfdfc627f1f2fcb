-- Fan-out is about delivery: how long the disk takes is measured apart.
set synchronous_commit = off
