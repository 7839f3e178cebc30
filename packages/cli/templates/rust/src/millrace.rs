//! What a plugin needs of its host: input, output, failure and log. Blocks of host memory are named by i64 offsets.
//! The other host functions (`millrace:host/kv`, `…/http`, …) are declared in the same way; docs/plugins.md lists them.
#![allow(dead_code)]

#[link(wasm_import_module = "extism:host/env")]
extern "C" {
    fn input_length() -> u64;
    fn input_load_u8(at: u64) -> u32;
    fn input_load_u64(at: u64) -> u64;
    fn alloc(length: u64) -> u64;
    fn length(offset: u64) -> u64;
    fn load_u8(at: u64) -> u32;
    fn store_u8(at: u64, value: u32);
    fn store_u64(at: u64, value: u64);
    fn output_set(offset: u64, length: u64);
    fn error_set(offset: u64);
}

#[link(wasm_import_module = "millrace:host/log")]
extern "C" {
    fn write(level: u32, text: u64);
}

#[derive(Clone, Copy)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Runs an export's body: its `Ok` is the output, its `Err` the job's error. A panic is a failure as well.
pub fn run(body: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Box<dyn std::error::Error>>) -> i32 {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    match body(input()) {
        Ok(output) => {
            unsafe { output_set(store(&output), output.len() as u64) };
            0
        }
        Err(error) => {
            fail(&error.to_string());
            1
        }
    }
}

pub fn log(level: Level, text: &str) {
    unsafe { write(level as u32, store(text.as_bytes())) };
}

/// Copies bytes into a block of host memory; a host function takes its offset.
pub fn store(bytes: &[u8]) -> u64 {
    let offset = unsafe { alloc(bytes.len() as u64) };
    let mut at = offset;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        unsafe { store_u64(at, u64::from_le_bytes(word.try_into().unwrap())) };
        at += 8;
    }
    for byte in words.remainder() {
        unsafe { store_u8(at, u32::from(*byte)) };
        at += 1;
    }
    offset
}

/// What a host function has put into a block; offset 0 is none.
pub fn load(offset: u64) -> Option<Vec<u8>> {
    if offset == 0 {
        return None;
    }
    let end = offset + unsafe { length(offset) };
    Some((offset..end).map(|at| unsafe { load_u8(at) } as u8).collect())
}

fn input() -> Vec<u8> {
    let length = unsafe { input_length() };
    let mut bytes = Vec::with_capacity(length as usize);
    let mut at = 0;
    while at + 8 <= length {
        bytes.extend_from_slice(&unsafe { input_load_u64(at) }.to_le_bytes());
        at += 8;
    }
    bytes.extend((at..length).map(|at| unsafe { input_load_u8(at) } as u8));
    bytes
}

fn fail(message: &str) {
    unsafe { error_set(store(message.as_bytes())) };
}
