;; Few calls with large frames reach the end of the engine's own stack before the counted depth.
(module
  (type $wide (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
  (func $fat (type $wide)
    (i64.add
      (call $fat (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
        (local.get 8) (local.get 9) (local.get 10) (local.get 11) (local.get 12) (local.get 13) (local.get 14)
        (local.get 15) (local.get 16) (local.get 17) (local.get 18) (local.get 19) (local.get 0))
      (i64.add (i64.add (i64.add (local.get 0) (local.get 1)) (i64.add (local.get 2) (local.get 3)))
        (i64.add (i64.add (local.get 4) (local.get 5)) (i64.add (local.get 6) (local.get 19))))))
  (func (export "run")
    (drop (call $fat (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
      (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10) (i64.const 11) (i64.const 12) (i64.const 13)
      (i64.const 14) (i64.const 15) (i64.const 16) (i64.const 17) (i64.const 18) (i64.const 19))))
  ;; What would be thrown at the end of the stack must not be caught and tried again for ever.
  (func $again (try (do (drop (call $fat (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
      (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10) (i64.const 11)
      (i64.const 12) (i64.const 13) (i64.const 14) (i64.const 15) (i64.const 16) (i64.const 17) (i64.const 18)
      (i64.const 19)))) (catch_all)))
  (func (export "catches_the_end") (loop $next (call $again) (br $next)))
)
