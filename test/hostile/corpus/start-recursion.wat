(module
  (func $start (call $start) (call $start))
  (start $start)
  (func (export "run") (result i32) (i32.const 0)))
