;; Work that never ends, in every shape that control flow has.
(module
  (type $void (func))
  (table 4 funcref)
  (elem (i32.const 0) $through_table $tail_through_table)
  (memory 1)
  (tag $thrown)

  (func (export "loop") (loop $again (br $again)))
  (func (export "nested") (loop $outer (loop $inner (br_if $inner (i32.const 1))) (br $outer)))
  (func (export "by_branch_table") (param) (result i32)
    (loop $again (block $out (br_table $again $again $out (i32.const 1)))) (i32.const 0))
  (func (export "straight_work_in_a_loop") (local i64)
    (loop $again
      (local.set 0 (i64.mul (i64.add (local.get 0) (i64.const 7)) (i64.const 31)))
      (i64.store (i32.const 0) (local.get 0))
      (br $again)))

  (func $direct (export "direct_recursion") (call $direct) (call $direct))
  (func $one (export "mutual_recursion") (call $two) (call $two))
  (func $two (call $one) (call $one))
  (func $through_table (export "indirect_recursion")
    (call_indirect (type $void) (i32.const 0)) (call_indirect (type $void) (i32.const 0)))

  ;; Tail calls need no stack: only fuel ends them.
  (func $tail (export "tail_recursion") (return_call $tail))
  (func $tail_one (export "mutual_tail_recursion") (return_call $tail_two))
  (func $tail_two (return_call $tail_one))
  (func $tail_through_table (export "indirect_tail_recursion") (return_call_indirect (type $void) (i32.const 1)))

  ;; Depth alone does not bound work: a tree of calls is 2 to the depth.
  (func $tree (param i32)
    (if (local.get 0)
      (then
        (call $tree (i32.sub (local.get 0) (i32.const 1)))
        (call $tree (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "call_tree") (call $tree (i32.const 60)))

  ;; Catches whatever can be caught, and goes on.
  (func $throws (throw $thrown))
  (func (export "catches_and_goes_on")
    (loop $again (try (do (call $throws)) (catch_all)) (br $again)))
  (func (export "throws_from_the_catch")
    (loop $again
      (try (do (try (do (call $throws)) (catch_all (rethrow 0)))) (catch_all))
      (br $again)))
  (func $deep (try (do (call $deep)) (catch_all (call $deep))))
  (func (export "recursion_that_catches") (call $deep))
)
