/** JSON as RFC 8259 has it, for records and events: a strict reader into a tree, and writing with correct escapes. */

export enum JsonKind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

export class JsonValue {
  kind: JsonKind = JsonKind.Null;
  bool: bool = false;
  number: f64 = 0;
  text: string = "";
  items: JsonValue[] = [];
  keys: string[] = [];

  constructor(kind: JsonKind) {
    this.kind = kind;
  }

  /** A member of an object; the last one when a name occurs twice, as JSON.parse has it. */
  get(name: string): JsonValue | null {
    for (let i = this.keys.length - 1; i >= 0; i--) if (this.keys[i] == name) return this.items[i];
    return null;
  }

  stringOr(name: string, fallback: string): string {
    const value = this.get(name);
    return value !== null && value.kind == JsonKind.String ? value.text : fallback;
  }

  numberOr(name: string, fallback: f64): f64 {
    const value = this.get(name);
    return value !== null && value.kind == JsonKind.Number ? value.number : fallback;
  }

  boolOr(name: string, fallback: bool): bool {
    const value = this.get(name);
    return value !== null && value.kind == JsonKind.Bool ? value.bool : fallback;
  }
}

/** Deeper nesting than any record has; each level is a call on the module's stack. */
const MAX_DEPTH: i32 = 32;

export class JsonReader {
  text: string;
  at: i32 = 0;
  /** Why reading failed, or empty. */
  problem: string = "";

  constructor(text: string) {
    this.text = text;
  }

  /** Reads the whole text as one value. When `problem` is not empty afterwards, the value means nothing. */
  read(): JsonValue {
    const value = this.value(0);
    this.space();
    if (this.problem.length == 0 && this.at < this.text.length) this.refuse("text after the value");
    return value;
  }

  private value(depth: i32): JsonValue {
    this.space();
    const c = this.peek();
    if (depth > MAX_DEPTH) return this.refuse("nested too deeply");
    if (c == 0x7b) return this.object(depth);
    if (c == 0x5b) return this.array(depth);
    if (c == 0x22) return this.string();
    if (c == 0x2d || isDigit(c)) return this.number();
    if (this.word("true")) return this.boolean(true);
    if (this.word("false")) return this.boolean(false);
    if (this.word("null")) return new JsonValue(JsonKind.Null);
    return this.refuse(c < 0 ? "the text ends too early" : "unexpected character");
  }

  private object(depth: i32): JsonValue {
    const value = new JsonValue(JsonKind.Object);
    this.at++;
    this.space();
    if (this.take(0x7d)) return value;
    while (true) {
      this.space();
      if (this.peek() != 0x22) return this.refuse("expected a name in quotes");
      const key = this.string();
      this.space();
      if (this.problem.length > 0) return value;
      if (!this.take(0x3a)) return this.refuse("expected a colon");
      value.keys.push(key.text);
      value.items.push(this.value(depth + 1));
      this.space();
      if (this.problem.length > 0 || this.take(0x7d)) return value;
      if (!this.take(0x2c)) return this.refuse("expected a comma or a brace");
    }
  }

  private array(depth: i32): JsonValue {
    const value = new JsonValue(JsonKind.Array);
    this.at++;
    this.space();
    if (this.take(0x5d)) return value;
    while (true) {
      value.items.push(this.value(depth + 1));
      this.space();
      if (this.problem.length > 0 || this.take(0x5d)) return value;
      if (!this.take(0x2c)) return this.refuse("expected a comma or a bracket");
    }
  }

  private string(): JsonValue {
    const value = new JsonValue(JsonKind.String);
    let start = ++this.at;
    while (true) {
      const c = this.peek();
      if (c < 0) return this.refuse("a string without end");
      if (c < 0x20) return this.refuse("a control character in a string");
      if (c == 0x22) {
        value.text += this.text.substring(start, this.at++);
        return value;
      }
      if (c != 0x5c) {
        this.at++;
        continue;
      }
      value.text += this.text.substring(start, this.at++);
      const unit = this.escape();
      if (unit < 0) return this.refuse("an unknown escape");
      value.text += String.fromCharCode(unit);
      start = this.at;
    }
  }

  private escape(): i32 {
    const c = this.peek();
    this.at++;
    if (c == 0x22 || c == 0x5c || c == 0x2f) return c;
    if (c == 0x62) return 8;
    if (c == 0x66) return 12;
    if (c == 0x6e) return 10;
    if (c == 0x72) return 13;
    if (c == 0x74) return 9;
    if (c != 0x75) return -1;
    let unit = 0;
    for (let i = 0; i < 4; i++) {
      const digit = hexDigit(this.peek());
      if (digit < 0) return -1;
      unit = unit * 16 + digit;
      this.at++;
    }
    return unit;
  }

  private number(): JsonValue {
    const start = this.at;
    this.take(0x2d);
    if (!this.take(0x30) && !this.digits()) return this.refuse("a number without digits");
    if (this.take(0x2e) && !this.digits()) return this.refuse("a number without digits after the point");
    if (this.take(0x65) || this.take(0x45)) {
      if (!this.take(0x2b)) this.take(0x2d);
      if (!this.digits()) return this.refuse("a number without digits in the exponent");
    }
    const value = new JsonValue(JsonKind.Number);
    value.number = parseFloat(this.text.substring(start, this.at));
    return value;
  }

  private digits(): bool {
    const start = this.at;
    while (isDigit(this.peek())) this.at++;
    return this.at > start;
  }

  private boolean(bool: bool): JsonValue {
    const value = new JsonValue(JsonKind.Bool);
    value.bool = bool;
    return value;
  }

  private word(word: string): bool {
    if (this.text.substr(this.at, word.length) != word) return false;
    this.at += word.length;
    return true;
  }

  private take(c: i32): bool {
    if (this.peek() != c) return false;
    this.at++;
    return true;
  }

  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  private space(): void {
    let c = this.peek();
    while (c == 0x20 || c == 0x0a || c == 0x0d || c == 0x09) {
      this.at++;
      c = this.peek();
    }
  }

  private refuse(reason: string): JsonValue {
    if (this.problem.length == 0) this.problem = reason + " at character " + this.at.toString();
    return new JsonValue(JsonKind.Null);
  }
}

function isDigit(c: i32): bool {
  return c >= 0x30 && c <= 0x39;
}

function hexDigit(c: i32): i32 {
  if (isDigit(c)) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

const HEX = "0123456789abcdef";

/** A string in quotes. Half surrogate pairs are escaped too: UTF-8 cannot carry them. */
export function quote(text: string): string {
  let out = '"';
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const isPair = c >= 0xd800 && c < 0xdc00 && i + 1 < text.length && (text.charCodeAt(i + 1) & 0xfc00) == 0xdc00;
    if (isPair) {
      i++;
      continue;
    }
    if (c >= 0x20 && c != 0x22 && c != 0x5c && (c & 0xf800) != 0xd800) continue;
    out += text.substring(start, i);
    start = i + 1;
    if (c == 0x22 || c == 0x5c) out += "\\" + String.fromCharCode(c);
    else out += "\\u" + HEX.charAt(c >> 12) + HEX.charAt((c >> 8) & 15) + HEX.charAt((c >> 4) & 15) + HEX.charAt(c & 15);
  }
  return out + text.substring(start) + '"';
}

export function quoteAll(texts: string[]): string {
  let out = "[";
  for (let i = 0; i < texts.length; i++) out += (i > 0 ? "," : "") + quote(texts[i]);
  return out + "]";
}
