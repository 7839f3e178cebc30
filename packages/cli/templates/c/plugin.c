/* Counts the words of a text. Freestanding: no libc, no WASI. */
#include "extism.h"
#include "sdk/c/millrace.h"

#define MOST_TEXT_BYTES (1024 * 1024)

static u8 text[MOST_TEXT_BYTES];

/* Writes a figure in decimal digits, and returns how many there are. */
static u32 digits(u8 *to, u32 value) {
  u8 reversed[10];
  u32 length = 0;
  do reversed[length++] = (u8)('0' + value % 10);
  while ((value /= 10) != 0);
  for (u32 at = 0; at < length; at++) to[at] = reversed[length - 1 - at];
  return length;
}

EXTISM_EXPORT("count_words") int count_words(void) {
  u64 length = extism_input_length();
  if (length > MOST_TEXT_BYTES) return extism_fail("the text is longer than 1 MiB");
  extism_read_input(text, (u32)length);
  u32 words = 0;
  int inside = 0;
  for (u32 at = 0; at < length; at++) {
    int space = text[at] <= ' ';
    if (!space && !inside) words++;
    inside = !space;
  }
  if (words == 0) return extism_fail("the text is empty");
  u8 output[32] = "{\"words\":";
  u32 end = 9;
  end += digits(output + end, words);
  output[end++] = '}';
  millrace_log_write(MILLRACE_INFO, extism_store(output, end));
  extism_output(output, end);
  return 0;
}
