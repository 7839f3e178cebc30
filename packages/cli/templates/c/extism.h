/* What a plugin needs of its host: input, output and failure. https://extism.org/docs/concepts/pdk
 * sdk/c/millrace.h has Millrace's own functions: log, state, HTTP, secrets, events, jobs. */
#ifndef PLUGIN_EXTISM_H
#define PLUGIN_EXTISM_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXTISM_IMPORT(name) __attribute__((import_module("extism:host/env"), import_name(name))) extern
#define EXTISM_EXPORT(name) __attribute__((export_name(name)))

EXTISM_IMPORT("input_length") u64 extism_input_length(void);
EXTISM_IMPORT("input_load_u8") u32 extism_input_load_u8(u64 at);
EXTISM_IMPORT("input_load_u64") u64 extism_input_load_u64(u64 at);
EXTISM_IMPORT("alloc") u64 extism_alloc(u64 length);
EXTISM_IMPORT("store_u8") void extism_store_u8(u64 address, u32 value);
EXTISM_IMPORT("output_set") void extism_output_set(u64 address, u64 length);
EXTISM_IMPORT("error_set") void extism_error_set(u64 address);

/* Host memory is reached by words of 8 bytes, little-endian as WASM's own, or byte by byte. */
static void extism_read_input(u8 *to, u32 length) {
  u32 at = 0;
  for (; at + 8 <= length; at += 8) {
    u64 word = extism_input_load_u64(at);
    __builtin_memcpy(to + at, &word, 8);
  }
  for (; at < length; at++) to[at] = (u8)extism_input_load_u8(at);
}

static u64 extism_store(const u8 *from, u32 length) {
  u64 address = extism_alloc(length);
  for (u32 at = 0; at < length; at++) extism_store_u8(address + at, from[at]);
  return address;
}

static void extism_output(const u8 *from, u32 length) { extism_output_set(extism_store(from, length), length); }

/* `return extism_fail("…")` ends a call as failed. */
static int extism_fail(const char *message) {
  u32 length = 0;
  while (message[length] != 0) length++;
  extism_error_set(extism_store((const u8 *)message, length));
  return 1;
}

#endif
