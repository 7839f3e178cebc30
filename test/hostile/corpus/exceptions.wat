;; The newer exception handling: references to exceptions, kept and thrown again.
(module
  (tag $thrown)
  (func $throws (throw $thrown))
  (func (export "caught_for_ever")
    (loop $again
      (block $caught (try_table (catch_all $caught) (call $throws)))
      (br $again)))
  (func (export "thrown_again") (local $kept exnref)
    (loop $again
      (block $caught (result exnref) (try_table (catch_all_ref $caught) (call $throws)) unreachable)
      (local.set $kept)
      (block $twice (try_table (catch_all $twice) (throw_ref (local.get $kept))))
      (br $again)))
  (func (export "uncaught") (local $kept exnref)
    (block $caught (result exnref) (try_table (catch_all_ref $caught) (call $throws)) unreachable)
    (local.set $kept)
    (throw_ref (local.get $kept)))
  (func $deep (try_table (call $deep)) (call $deep))
  (func (export "recursion_in_a_try") (call $deep))
  (func (export "throw_of_null") (throw_ref (ref.null exn))))
