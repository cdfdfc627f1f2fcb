create or replace view chaos.fluid_state as select id, v, 100 / (1 + v * 0) as q from chaos.fluid; update chaos.fluid set v = v + 1
