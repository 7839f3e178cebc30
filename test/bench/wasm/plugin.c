/* The plugin of the sandbox bench, with a memory of 1 MiB: as little as a call can do, and one that waits for HTTP. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXTISM(name) __attribute__((import_module("extism:host/env"), import_name(name))) extern

EXTISM("input_length") u64 input_length(void);
EXTISM("input_load_u8") u32 input_load_u8(u64 offset);
EXTISM("alloc") u64 alloc(u64 length);
EXTISM("store_u8") void store_u8(u64 address, u32 value);
EXTISM("output_set") void output_set(u64 address, u64 length);
EXTISM("log_info") void log_info(u64 address);
EXTISM("var_get") u64 var_get(u64 name);
EXTISM("var_set") void var_set(u64 name, u64 value);
EXTISM("http_request") u64 http_request(u64 request, u64 body);
EXTISM("http_status_code") u32 http_status_code(void);

static u64 copy_input(void) {
  u64 length = input_length();
  u64 address = alloc(length);
  for (u64 at = 0; at < length; at++) store_u8(address + at, input_load_u8(at));
  return address;
}

/* Dirties a page, as real work does, and returns nothing. */
static u8 scratch[65536];
__attribute__((export_name("touch"))) int touch(void) {
  for (u32 at = 0; at < sizeof scratch; at += 64) scratch[at]++;
  return scratch[0] == 1 ? 0 : 1;
}

__attribute__((export_name("echo"))) int echo(void) {
  u64 length = input_length();
  output_set(copy_input(), length);
  return 0;
}

static u64 block(u64 length) {
  u64 address = alloc(length);
  for (u64 at = 0; at < length; at++) store_u8(address + at, 'a');
  return address;
}

/* As a plugin does that looks back and tells: writes a log line, sets a variable, reads it again. */
__attribute__((export_name("work"))) int work(void) {
  log_info(block(32));
  var_set(block(3), copy_input());
  u64 value = var_get(block(3));
  output_set(value, input_length());
  return 0;
}

/* Sends the request that its input describes, and fails unless the answer is 200. */
__attribute__((export_name("ask"))) int ask(void) {
  http_request(copy_input(), 0);
  return http_status_code() == 200 ? 0 : 1;
}
