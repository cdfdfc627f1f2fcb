drop table chaos.fluid cascade
