(module
  (table $functions 1 4294967295 funcref)
  (table $externs 1 externref)
  (func (export "one_by_one")
    (loop $again
      (br_if $again (i32.ge_s (table.grow $functions (ref.null func) (i32.const 1000)) (i32.const 0))))
    unreachable)
  (func (export "all_at_once")
    (if (i32.lt_s (table.grow $externs (ref.null extern) (i32.const 100000000)) (i32.const 0)) (then unreachable)))
  (func (export "asking_for_ever")
    (loop $again (drop (table.grow $functions (ref.null func) (i32.const 1))) (br $again))))
