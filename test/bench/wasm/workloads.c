/* Workloads of the metering bench in C: each export takes a number of rounds and returns a checksum. Freestanding. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))

static u32 random_state = 1;
static u32 next_random(void) { return random_state = random_state * 1664525u + 1013904223u; }

/* SHA-256 (FIPS 180-4) over blocks of 64 bytes. */
static const u32 round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static u8 message[64 * 256];

static u32 rotate(u32 x, int by) { return (x >> by) | (x << (32 - by)); }

static void digest_block(u32 *state, const u8 *block) {
  u32 w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 | (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    u32 a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
    u32 b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  for (int i = 0; i < 8; i++) s[i] = state[i];
  for (int i = 0; i < 64; i++) {
    u32 a = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
            round_constants[i] + w[i];
    u32 b = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + a, s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = a + b;
  }
  for (int i = 0; i < 8; i++) state[i] += s[i];
}

EXPORT("sha256") u32 sha256(u32 rounds) {
  u32 state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (u32 i = 0; i < sizeof message; i++) message[i] = (u8)(i * 31);
  for (u32 round = 0; round < rounds; round++)
    for (u32 at = 0; at < sizeof message; at += 64) digest_block(state, message + at);
  return state[0] ^ state[7];
}

/* An interpreter of a small register machine that counts primes. */
enum { SET, ADD, REMAINDER, LESS, JUMP_ZERO, JUMP, COPY, MULTIPLY, STOP };
typedef struct {
  u8 code, a, b, c;
} instruction;

static const instruction primes[] = {
    {SET, 0, 2, 0},       /* 0: r0 = 2, the candidate */
    {SET, 1, 2, 0},       /* 1: r1 = 2, the divisor */
    {MULTIPLY, 2, 1, 1},  /* 2: r2 = r1 * r1 */
    {LESS, 3, 0, 2},      /* 3: r3 = r0 < r2 */
    {JUMP_ZERO, 3, 6, 0}, /* 4 */
    {JUMP, 11, 0, 0},     /* 5: no divisor left: a prime */
    {REMAINDER, 4, 0, 1}, /* 6 */
    {JUMP_ZERO, 4, 12, 0},/* 7: composite */
    {SET, 5, 1, 0},       /* 8 */
    {ADD, 1, 1, 5},       /* 9 */
    {JUMP, 2, 0, 0},      /* 10 */
    {ADD, 6, 6, 7},       /* 11: r6 += r7 (1) */
    {ADD, 0, 0, 7},       /* 12 */
    {LESS, 3, 0, 8},      /* 13: r8 is the bound */
    {JUMP_ZERO, 3, 16, 0},/* 14 */
    {JUMP, 1, 0, 0},      /* 15 */
    {STOP, 0, 0, 0}};

static u32 interpret(const instruction *program, u32 bound) {
  u32 r[16] = {0};
  r[7] = 1, r[8] = bound;
  for (u32 at = 0;;) {
    instruction i = program[at++];
    switch (i.code) {
    case SET: r[i.a & 15] = i.b; break;
    case ADD: r[i.a & 15] = r[i.b & 15] + r[i.c & 15]; break;
    case REMAINDER: r[i.a & 15] = r[i.b & 15] % r[i.c & 15]; break;
    case LESS: r[i.a & 15] = r[i.b & 15] < r[i.c & 15]; break;
    case JUMP_ZERO: if (r[i.a & 15] == 0) at = i.b; break;
    case JUMP: at = i.a; break;
    case COPY: r[i.a & 15] = r[i.b & 15]; break;
    case MULTIPLY: r[i.a & 15] = r[i.b & 15] * r[i.c & 15]; break;
    default: return r[6];
    }
  }
}

EXPORT("vm") u32 vm(u32 rounds) {
  u32 sum = 0;
  for (u32 round = 0; round < rounds; round++) sum += interpret(primes, 3000 + (round & 7));
  return sum;
}

/* One long cycle through 4 MiB of memory, in a random order. */
#define NODES (1u << 20)
static u32 following[NODES];

EXPORT("chase") u32 chase(u32 rounds) {
  random_state = 7;
  for (u32 i = 0; i < NODES; i++) following[i] = i;
  for (u32 i = NODES - 1; i > 0; i--) {
    u32 j = next_random() % i, kept = following[i];
    following[i] = following[j], following[j] = kept;
  }
  u32 at = 0, sum = 0;
  for (u32 step = 0; step < rounds * 1000; step++) at = following[at], sum += at;
  return sum;
}

/* Backtracking matcher for: literals, '.', 'x*', '[a-z]' ranges, '^' and '$'. */
static int in_set(const char **pattern, char c) {
  const char *p = *pattern + 1;
  int found = 0;
  for (; *p != ']'; p++) {
    if (p[1] == '-' && p[2] != ']') {
      if (c >= p[0] && c <= p[2]) found = 1;
      p += 2;
    } else if (*p == c) {
      found = 1;
    }
  }
  *pattern = p + 1;
  return found;
}

static int match_one(const char **pattern, char c) {
  if (**pattern == '[') return in_set(pattern, c) && c != 0;
  char want = *(*pattern)++;
  return c != 0 && (want == '.' || want == c);
}

static int match_here(const char *pattern, const char *text) {
  if (*pattern == 0) return 1;
  if (pattern[0] == '$' && pattern[1] == 0) return *text == 0;
  const char *rest = pattern;
  int first = match_one(&rest, *text);
  if (*rest == '*') {
    for (;;) {
      if (match_here(rest + 1, text)) return 1;
      const char *again = pattern;
      if (!match_one(&again, *text)) return 0;
      text++;
    }
  }
  return first && match_here(rest, text + 1);
}

static char lines[4096];

EXPORT("regex") u32 regex(u32 rounds) {
  static const char words[] = "alpha 12 beta@example.org gamma 2026-11-21 delta x=42; ";
  for (u32 i = 0; i < sizeof lines - 1; i++) lines[i] = words[i % (sizeof words - 1)];
  lines[sizeof lines - 1] = 0;
  static const char *patterns[] = {"[a-z]*@[a-z]*.org", "[0-9][0-9]*-[0-9]*-[0-9]*", "g.m*a [0-9]*", "x=[0-9]*;"};
  u32 found = 0;
  for (u32 round = 0; round < rounds; round++)
    for (u32 p = 0; p < 4; p++)
      for (const char *text = lines; *text; text++) found += match_here(patterns[p], text);
  return found;
}

/* LZ77 with a hash table, and its inverse. */
#define INPUT 65536
static u8 plain[INPUT], packed[INPUT * 2], unpacked[INPUT];
static u32 heads[4096];

static u32 compress(void) {
  u32 out = 0, at = 0;
  for (u32 i = 0; i < 4096; i++) heads[i] = 0;
  while (at < INPUT) {
    u32 length = 0, from = 0;
    if (at + 4 < INPUT) {
      u32 hash = ((u32)plain[at] << 16 | (u32)plain[at + 1] << 8 | plain[at + 2]) * 2654435761u >> 20;
      from = heads[hash];
      heads[hash] = at + 1;
      if (from != 0 && at - --from < 65535)
        while (length < 255 && at + length < INPUT && plain[from + length] == plain[at + length]) length++;
    }
    if (length >= 4) {
      packed[out++] = (u8)length, packed[out++] = (u8)(at - from), packed[out++] = (u8)((at - from) >> 8);
      at += length;
    } else {
      packed[out++] = 0, packed[out++] = plain[at++];
    }
  }
  return out;
}

static u32 decompress(u32 size) {
  u32 out = 0;
  for (u32 at = 0; at < size;) {
    u32 length = packed[at++];
    if (length == 0) {
      unpacked[out++] = packed[at++];
    } else {
      u32 distance = packed[at] | (u32)packed[at + 1] << 8;
      at += 2;
      for (u32 i = 0; i < length; i++, out++) unpacked[out] = unpacked[out - distance];
    }
  }
  return out;
}

EXPORT("compression") u32 compression(u32 rounds) {
  static const char words[8][12] = {"metered ", "fuel ", "the ", "block ", "of ", "plugin ", "memory ", "call "};
  random_state = 3;
  for (u32 at = 0; at < INPUT;) {
    const char *word = words[next_random() >> 29];
    while (*word && at < INPUT) plain[at++] = (u8)*word++;
  }
  u32 sum = 0;
  for (u32 round = 0; round < rounds; round++) {
    u32 size = compress();
    sum += size + decompress(size);
    for (u32 i = 0; i < INPUT; i += 97) sum += unpacked[i] == plain[i];
  }
  return sum;
}
