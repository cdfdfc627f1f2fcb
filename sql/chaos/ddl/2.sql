alter table chaos.fluid rename column note to remark; update chaos.fluid set v = v + 1
