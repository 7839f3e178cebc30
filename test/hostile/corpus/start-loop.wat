;; The start section runs before anything was called.
(module
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "run") (result i32) (i32.const 0)))
