import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv4 } from "node:net";

/** A name server on a free port, for tests. */
export interface NameServer {
  /** `address:port` */
  readonly address: string;
  /** Resolves when it was asked for the name. */
  whenAsked(name: string): Promise<void>;
  close(): void;
}

const types = { a: 1, aaaa: 28 } as const;
const headBytes = 12;

/** @param known addresses by name; a query for any other gets no answer, ever (RFC 1035, section 4) */
export async function startNameServer(known: Readonly<Record<string, readonly string[]>>): Promise<NameServer> {
  const socket = createSocket("udp4");
  const asked = new Set<string>();
  const waiting: (() => void)[] = [];
  socket.on("message", (query, { address, port }) => {
    const { name, type, end } = readQuestion(query);
    asked.add(name);
    for (const look of waiting) look();
    const addresses = known[name]?.filter((one) => isIPv4(one) === (type === types.a));
    if (addresses === undefined || (type !== types.a && type !== types.aaaa)) return;
    const head = Buffer.from(query.subarray(0, headBytes));
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(addresses.length, 6);
    head.writeUInt32BE(0, 8);
    socket.send(
      Buffer.concat([head, query.subarray(headBytes, end), ...addresses.map((one) => record(type, one))]),
      port,
      address,
    );
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    whenAsked: (name) =>
      new Promise((resolve) => {
        const look = (): void => void (asked.has(name) && resolve());
        waiting.push(look);
        look();
      }),
    close: () => void socket.close(),
  };
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = headBytes;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** Of the name in the question, for a minute. */
function record(type: number, address: string): Buffer {
  const bytes = isIPv4(address) ? address.split(".").map(Number) : bytes6(address);
  return Buffer.from([0xc0, headBytes, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length, ...bytes]);
}

/** Of an address with one `::`. */
function bytes6(address: string): number[] {
  const [head = [], tail = []] = address.split("::").map((part) => part.split(":").map((group) => parseInt(group, 16)));
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
  return groups.flatMap((group) => [group >> 8, group & 0xff]);
}
