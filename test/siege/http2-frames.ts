/** Frames of HTTP/2 by hand (RFC 9113, section 4.1): what no library would send. */

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
  unknown: 0xee,
} as const;
export const endStream = 0x1;
export const endHeaders = 0x4;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** @param initialWindow bytes of each stream that may come before more are asked for */
export function settings(initialWindow?: number): Buffer {
  if (initialWindow === undefined) return frame(frameType.settings, 0, 0);
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(4, 0);
  payload.writeUInt32BE(initialWindow, 2);
  return frame(frameType.settings, 0, 0, payload);
}

/** A head in literals of HPACK (RFC 7541, section 6.2.2), which depend on nothing sent before. */
export function headerBlock(lines: Readonly<Record<string, string>>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(lines)) {
    if (name.length > 126 || value.length > 126) throw new RangeError("this writes lengths of one byte only");
    parts.push(Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value));
  }
  return Buffer.concat(parts);
}

export function requestHead(verb: string, path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return headerBlock({ ":method": verb, ":scheme": "http", ":path": path, ":authority": "a", ...more });
}
