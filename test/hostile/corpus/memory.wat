;; Linear memory by memory.grow.
(module
  (memory 1 65536)
  (func (export "page_by_page")
    (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
    unreachable)
  (func (export "all_at_once")
    (if (i32.lt_s (memory.grow (i32.const 65535)) (i32.const 0)) (then unreachable)))
  (func (export "more_than_there_is")
    (if (i32.lt_s (memory.grow (i32.const -1)) (i32.const 0)) (then unreachable)))
  ;; Takes no for an answer, and asks again.
  (func (export "asking_for_ever") (loop $again (drop (memory.grow (i32.const 1))) (br $again)))
  (func (export "nothing_for_ever") (loop $again (drop (memory.grow (i32.const 0))) (br $again)))
  ;; Touches each page, so that the system has to give it.
  (func (export "grow_and_touch") (local $page i32)
    (loop $again
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.lt_s (local.get $page) (i32.const 0)) (then unreachable))
      (i64.store (i32.shl (local.get $page) (i32.const 16)) (i64.const -1))
      (br $again)))
)
