alter table chaos.fluid rename column remark to note; update chaos.fluid set v = v + 1
