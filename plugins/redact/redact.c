/*
 * Takes e-mail addresses and payment card numbers out of a text: "[email]" and "[card]" stand in their place. Works on
 * plain text and on JSON alike, as neither replacement needs escaping. Freestanding: no libc, no WASI.
 */
#include "extism-pdk.h"

#define PAGE_BYTES 65536u
#define MAX_CARD_DIGITS 19
#define MIN_CARD_DIGITS 13

extern u8 __heap_base;

static int is_digit(u8 c) { return c >= '0' && c <= '9'; }
static int is_letter(u8 c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static int is_domain(u8 c) { return is_letter(c) || is_digit(c) || c == '-'; }
static int is_local(u8 c) { return is_domain(c) || c == '.' || c == '_' || c == '%' || c == '+'; }

/* Length of the e-mail address whose local part is text[at..local_end), or 0. */
static u32 email_length(const u8 *text, u32 length, u32 at, u32 local_end) {
  u32 end, label, letters, best = 0;
  if (local_end >= length || text[local_end] != '@') return 0;
  for (end = local_end + 1; end < length && is_domain(text[end]); end++) {
  }
  while (end + 1 < length && text[end] == '.' && is_domain(text[end + 1])) {
    letters = 0;
    for (label = end + 1; label < length && is_domain(text[label]); label++) letters += is_letter(text[label]);
    if (end == local_end + 1) return 0;
    /* A top-level domain is letters only; what follows the last such label is not part of the address. */
    if (letters >= 2 && letters == label - end - 1) best = label - at;
    end = label;
  }
  return best;
}

static int passes_luhn(const u8 *digits, u32 count) {
  u32 sum = 0, i, digit;
  for (i = 0; i < count; i++) {
    digit = digits[count - 1 - i];
    if (i % 2 == 1) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return sum % 10 == 0;
}

/* Length of the card number at text[at], digits in groups parted by one space or hyphen, or 0. The longest wins. */
static u32 card_length(const u8 *text, u32 length, u32 at) {
  u8 digits[MAX_CARD_DIGITS];
  u32 count = 0, next = at, best = 0;
  while (next < length && count < MAX_CARD_DIGITS) {
    if (count > 0 && (text[next] == ' ' || text[next] == '-') && next + 1 < length && is_digit(text[next + 1])) next++;
    if (!is_digit(text[next])) break;
    digits[count++] = text[next++] - '0';
    if (count >= MIN_CARD_DIGITS && (next == length || !is_digit(text[next])) && passes_luhn(digits, count)) {
      best = next - at;
    }
  }
  return best;
}

static u32 put(u8 *to, u32 at, const char *text) {
  while (*text) to[at++] = (u8)*text++;
  return at;
}

static u32 put_number(u8 *to, u32 at, u32 number) {
  if (number >= 10) at = put_number(to, at, number / 10);
  to[at++] = '0' + number % 10;
  return at;
}

static void log_counts(u32 emails, u32 cards) {
  u8 line[64];
  u32 at = put_number(line, 0, emails);
  at = put(line, at, " e-mail addresses, ");
  at = put_number(line, at, cards);
  at = put(line, at, " card numbers");
  extism_log_info(extism_store(line, at));
}

/* Room for the text and for what comes out of it: "a@b.cc" grows by one, so twice is plenty. */
static u8 *take_memory(u32 length) {
  u64 need = (u64)(u32)&__heap_base + (u64)length * 3;
  u64 have = (u64)__builtin_wasm_memory_size(0) * PAGE_BYTES;
  u64 pages = need > have ? (need - have + PAGE_BYTES - 1) / PAGE_BYTES : 0;
  if (pages > 65536 || (pages > 0 && __builtin_wasm_memory_grow(0, (u32)pages) == (unsigned long)-1)) return 0;
  return &__heap_base;
}

EXTISM_EXPORT("redact") int redact(void) {
  u32 length = (u32)extism_input_length(), at = 0, out = 0, run_end = 0, skip;
  u32 emails = 0, cards = 0;
  u8 *text = take_memory(length), *result = text + length;
  if (text == 0) {
    static const char message[] = "the text is too long for the memory limit";
    extism_error_set(extism_store((const u8 *)message, sizeof message - 1));
    return 1;
  }
  extism_read_input(text, length);
  while (at < length) {
    /* Once for each run of characters that a local part may have: this keeps the scan linear. */
    if (at >= run_end && is_local(text[at])) {
      for (run_end = at; run_end < length && is_local(text[run_end]); run_end++) {
      }
      skip = email_length(text, length, at, run_end);
      if (skip > 0) {
        emails++;
        out = put(result, out, "[email]");
        at += skip;
        continue;
      }
    }
    if (is_digit(text[at]) && (at == 0 || !is_digit(text[at - 1]))) {
      skip = card_length(text, length, at);
      if (skip > 0) {
        cards++;
        out = put(result, out, "[card]");
        at += skip;
        continue;
      }
    }
    result[out++] = text[at++];
  }
  extism_output(result, out);
  log_counts(emails, cards);
  return 0;
}
