import {
  connect,
  createInbox,
  credsAuthenticator,
  Events,
  type ConnectionOptions,
  type Msg,
  type NatsConnection,
  type NatsError,
  type PublishOptions,
  type Subscription,
  nkeyAuthenticator,
  type TlsOptions,
} from "nats";
import { streamTopology } from "@millrace/protocol";
import { readFileSync } from "node:fs";
import { silentLogger, type BusLogger } from "./bus-logger.ts";
import { asClientHeaders, type EncodedHeaders } from "./encode-headers.ts";
import { BusError, notConnected } from "./bus-error.ts";
import { CertificateFiles, type CertificatePaths } from "./certificate-files.ts";
import type { TopologyOptions } from "./ensure-topology.ts";
import { inboxRoot, type InboxPurpose } from "./inbox.ts";
import { isElections, Namespace, streamElections } from "./namespace.ts";
import { pause } from "./pause.ts";

export interface BusOptions {
  /** `nats://host:port`, one or many. */
  readonly servers: string | readonly string[];
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Content of a `.creds` file. */
  readonly creds?: Uint8Array;
  /** A `.creds` file, of a user of an account (operator mode); read at each connection. */
  readonly credsFile?: string;
  /** File that holds the seed of an nkey; read at each connection. */
  readonly seedFile?: string;
  readonly tls?: TlsOptions;
  /** TLS by files that may change; when they do, the connection is remade with them. */
  readonly certificates?: CertificatePaths;
  /** Replies come back under this prefix, so that a user may be allowed its own and no other. */
  readonly inboxPrefix?: string;
  /** Another user has made the streams, and this one may not: they are taken as they are. */
  readonly topologyGiven?: boolean;
  /** In front of every subject, stream and bucket; see Namespace. */
  readonly prefix?: string;
  /** JetStream's domain, when the streams are not those of the server that is connected to. */
  readonly domain?: string;
  /** How streams are made, where a call of `ensureTopology` does not say. */
  readonly topology?: TopologyOptions;
  /** How long the first connection is tried for; later ones are tried for ever. */
  readonly connectTimeoutMs?: number;
  /** Ends these tries; its reason is thrown. */
  readonly signal?: AbortSignal;
  readonly logger?: BusLogger;
}

export interface BusStatus {
  readonly connected: boolean;
  /** Connections made, the first included. */
  readonly epoch: number;
  /** When the connection was last lost, Unix ms; 0: never. */
  readonly lostAtMs: number;
}

type StatusListener = (status: BusStatus) => void;
type RefusalListener = (subject: string) => void;
type ElectionListener = (subjects: string) => void;

/**
 * With two pings out the third beat finds the connection dead: a broker that hangs, or a way that is cut without a word, is left
 * within 15 s.
 */
const pingIntervalMs = 5000;
const mostPingsOut = 2;
const firstTryDelayMs = 100;
/** Between two tries to reach the same server, and up to so much more at random. */
const dialAgainMs = 100;
const dialJitterMs = 400;
const nextServerMs = 20;
/** Whoever starts a service hears by then what it waits for. */
const sayWaitingMs = 2000;

/**
 * One connection, remade for ever when it is lost.
 *
 * The client drops what is published while it is disconnected without a word. So `publish` says false then, and whoever
 * must not lose a message keeps it until an answer came (PipelinedPublisher), or ends its wait on `onStatus`.
 */
export class Link implements AsyncDisposable {
  readonly client: NatsConnection;
  readonly logger: BusLogger;
  readonly inboxPrefix: string;
  readonly topologyGiven: boolean;
  /** Undefined without prefix and domain: names are the same on the wire. */
  readonly namespace: Namespace | undefined;
  readonly topology: TopologyOptions;
  #status: BusStatus = { connected: true, epoch: 1, lostAtMs: 0 };
  #closed = false;
  #callbackFailures = 0;
  readonly #listeners = new Set<StatusListener>();
  readonly #refusalListeners = new Set<RefusalListener>();
  readonly #electionListeners = new Set<ElectionListener>();
  #hearsElections = false;
  readonly #files: CertificateFiles | undefined;

  private constructor(
    client: NatsConnection,
    options: BusOptions,
    namespace: Namespace | undefined,
    files: CertificateFiles | undefined,
  ) {
    this.client = client;
    this.namespace = namespace;
    this.logger = options.logger ?? silentLogger;
    this.inboxPrefix = options.inboxPrefix ?? inboxRoot;
    this.topologyGiven = options.topologyGiven ?? false;
    this.topology = options.topology ?? {};
    this.#files = files;
    void this.#follow();
  }

  static async open(options: BusOptions): Promise<Link> {
    const { certificates: paths, logger = silentLogger } = options;
    const namespace = Namespace.of(options);
    using starting = new DisposableStack();
    const files = paths === undefined ? undefined : starting.use(new CertificateFiles(paths, logger));
    const link = new Link(await Link.#connect(options, files), options, namespace, files);
    starting.move();
    return link;
  }

  static async #connect(options: BusOptions, files: CertificateFiles | undefined): Promise<NatsConnection> {
    const { connectTimeoutMs = 30_000, logger = silentLogger, signal } = options;
    const deadline = Date.now() + connectTimeoutMs;
    const servers = shownServers(options);
    let last: unknown;
    const saying = setTimeout(
      () => logger.warn({ servers, connectTimeoutMs, err: last }, "no NATS server answers yet: waiting for one"),
      sayWaitingMs,
    );
    try {
      for (;;) {
        try {
          return await connect(clientOptions(options, files));
        } catch (cause) {
          last = cause;
          const remaining = deadline - Date.now();
          const refused = /AUTHORIZATION|AUTHENTICATION|BAD_CREDS/.test(errorCodeOf(cause));
          if (refused) throw new BusError("unauthenticated", `NATS at ${servers} refused the credentials`, { cause });
          if (remaining <= 0) throw new BusError("unavailable", `no NATS server answers at ${servers}`, { cause });
          await pause(Math.min(firstTryDelayMs, remaining), signal === undefined ? {} : { signal });
          signal?.throwIfAborted();
        }
      }
    } finally {
      clearTimeout(saying);
    }
  }

  get status(): BusStatus {
    return this.#status;
  }

  get connected(): boolean {
    return this.#status.connected;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Callbacks that threw: each is a bug of ours, and has an error in the log. */
  get callbackFailures(): number {
    return this.#callbackFailures;
  }

  get maxPayloadBytes(): number {
    return this.client.info?.max_payload ?? 1 << 20;
  }

  onStatus(listener: StatusListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Hears of each message that the broker did not take, as this user may not publish on its subject: that on the wire. */
  onRefused(listener: RefusalListener): Disposable {
    this.#refusalListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#refusalListeners.delete(listener) };
  }

  /**
   * Hears in a cluster that a log, or `EVENTS`, was given a leader, with what its subjects begin with. What was on its way to the one
   * before is known to nobody. The new one may be there only a moment later.
   */
  onElection(listener: ElectionListener): Disposable {
    this.#electionListeners.add(listener);
    if (!this.#hearsElections && this.client.info?.cluster !== undefined) this.#hearElections();
    return { [Symbol.dispose]: () => void this.#electionListeners.delete(listener) };
  }

  /** Where a message to this subject goes on the wire. */
  onWire(subject: string): string {
    return this.namespace === undefined ? subject : this.namespace.published(subject);
  }

  /** @returns false when there is no connection: the message went nowhere */
  publish(subject: string, data: Uint8Array, reply?: string, headers?: EncodedHeaders): boolean {
    if (!this.#status.connected || this.#closed) return false;
    const options: PublishOptions = {};
    if (reply !== undefined) options.reply = this.namespace === undefined ? reply : this.namespace.stored(reply);
    if (headers !== undefined) options.headers = asClientHeaders(headers);
    this.client.publish(this.onWire(subject), data, options);
    return true;
  }

  /**
   * Says and counts what a callback threw. The client calls us from the loop that reads the connection: an exception would end
   * that loop, and with it all that comes over this connection.
   */
  callbackFailed(callback: string, err: unknown): void {
    this.#callbackFailures++;
    this.logger.error({ callback, err }, "callback of the bus failed");
  }

  /** Calls one that may throw, or return a promise that rejects. */
  guard(callback: string, call: () => unknown): void {
    try {
      const result = call();
      if (result instanceof Promise) result.catch((err: unknown) => this.callbackFailed(callback, err));
    } catch (err) {
      this.callbackFailed(callback, err);
    }
  }

  /** Survives reconnects. What the callback throws goes to the log. */
  subscribe(subject: string, onMessage: (message: Msg) => void, queue?: string): Subscription {
    if (this.#closed) throw notConnected();
    return this.client.subscribe(this.namespace === undefined ? subject : this.namespace.stored(subject), {
      ...(queue === undefined ? {} : { queue }),
      callback: (error: NatsError | null, message: Msg) => {
        if (error !== null) {
          if (!isElections(subject)) this.logger.error({ subject, err: error }, "subscription refused");
          return;
        }
        try {
          const result: unknown = onMessage(message);
          if (result instanceof Promise) result.catch((err: unknown) => this.callbackFailed(subject, err));
        } catch (err) {
          this.callbackFailed(subject, err);
        }
      },
    });
  }

  /** A fresh subject that nobody else listens on; `<inbox>.*` is what to subscribe to. */
  newInbox(purpose?: InboxPurpose): string {
    return createInbox(purpose === undefined ? this.inboxPrefix : `${this.inboxPrefix}.${purpose}`);
  }

  /** Calls `renew` when the certificates have changed; it should end in `reconnect`. */
  onCertificates(renew: () => void): Disposable {
    return this.#files?.onChange(renew) ?? { [Symbol.dispose]: () => undefined };
  }

  /**
   * Remakes the connection, with what was published before sent first. On Deno nothing happens: the client writes zero bytes before
   * it cuts the connection, which there leaves TLS neither open nor closed (seen with 2.9.6).
   */
  async reconnect(): Promise<void> {
    if ("Deno" in globalThis) return;
    if (this.#closed || !this.#status.connected) return;
    await this.client.flush();
    await this.client.reconnect();
  }

  /** Resolves with the next connection; rejects when the bus is closed first. */
  async whenConnected(): Promise<void> {
    if (this.#closed) throw notConnected();
    if (this.#status.connected) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listening = this.onStatus(() => {
      if (this.#status.connected || this.#closed) resolve();
    });
    await promise;
    listening[Symbol.dispose]();
    if (this.#closed) throw notConnected();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    if (this.#status.connected) {
      // Acks that were just written should get out; a broker that does not answer must not keep us.
      await Promise.race([this.client.flush().catch(() => undefined), pause(2000, { unref: true })]);
    }
    this.#closed = true;
    this.#files?.[Symbol.dispose]();
    this.#set({ ...this.#status, connected: false });
    await this.client.close();
  }

  #set(status: BusStatus): void {
    this.#status = status;
    // A copy: the callee may change it.
    const all = [...this.#listeners];
    for (const listener of all) this.guard("status", () => listener(status));
  }

  #hearElections(): void {
    this.#hearsElections = true;
    for (const { name, subjects } of streamTopology()) {
      const [first = ""] = subjects;
      const root = first.slice(0, first.search(/[*>]/));
      this.subscribe(streamElections(name), () => {
        // A copy: the callee may change it.
        const all = [...this.#electionListeners];
        for (const listener of all) this.guard("election", () => listener(root));
      });
    }
  }

  async #follow(): Promise<void> {
    for await (const event of this.client.status()) {
      if (this.#closed) return;
      if (event.type === Events.Disconnect && this.#status.connected) {
        this.logger.warn({ server: event.data }, "connection to NATS lost");
        this.#set({ ...this.#status, connected: false, lostAtMs: Date.now() });
      } else if (event.type === Events.Reconnect) {
        this.logger.info({ server: event.data }, "connection to NATS remade");
        this.#set({ ...this.#status, connected: true, epoch: this.#status.epoch + 1 });
      } else if (event.type === Events.Error) {
        const { operation, subject } = event.permissionContext ?? {};
        if (subject !== undefined && isElections(subject)) {
          this.logger.info(
            { subject },
            "this user of the broker may not hear of elections: it goes on later after one",
          );
          continue;
        }
        this.logger.error({ code: event.data, operation, subject }, "NATS reports an error");
        if (operation !== "publish" || subject === undefined) continue;
        // A copy: the callee may change it.
        const all = [...this.#refusalListeners];
        for (const listener of all) this.guard("refusal", () => listener(subject));
      } else if (event.type === Events.LDM) {
        this.logger.warn({ server: event.data }, "NATS server is about to shut down");
      }
    }
    // The status ends when the client gave up for good, which is by credentials that it no longer accepts.
    if (!this.#closed) {
      this.#closed = true;
      this.#files?.[Symbol.dispose]();
      this.logger.error({}, "NATS client closed");
      this.#set({ ...this.#status, connected: false });
    }
  }
}

/** Without a password or token that somebody wrote into an address. */
function shownServers({ servers }: BusOptions): string {
  return String(servers).replaceAll(/\/\/[^/@,]*@/g, "//");
}

function errorCodeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

function clientOptions(options: BusOptions, files: CertificateFiles | undefined): ConnectionOptions {
  const { seedFile, credsFile } = options;
  return {
    servers: typeof options.servers === "string" ? options.servers.split(",") : [...options.servers],
    name: options.name,
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.creds === undefined ? {} : { authenticator: credsAuthenticator(options.creds) }),
    // New ones are found when they are there: no refusal is the last.
    ...(seedFile === undefined
      ? {}
      : { authenticator: nkeyAuthenticator(() => readSeed(seedFile)), ignoreAuthErrorAbort: true }),
    ...(credsFile === undefined
      ? {}
      : { authenticator: credsAuthenticator(() => readFileSync(credsFile)), ignoreAuthErrorAbort: true }),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...(files === undefined ? {} : { tls: followingTls(files) }),
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
    // The client's default is ten tries, then it closes for good.
    maxReconnectAttempts: -1,
    reconnectDelayHandler: otherServersFirst(),
    pingInterval: pingIntervalMs,
    maxPingOut: mostPingsOut,
    timeout: 5000,
    noAsyncTraces: true,
  };
}

/**
 * How long after its last try the client leaves a server alone, asked before each try. Left to itself it tries the server first that
 * it has just lost, and one that hangs keeps it for another 5 s. So when the connection has lasted for a while that one is passed over:
 * it was tried last. Where there is no other the client comes back to it after `nextServerMs`.
 */
function otherServersFirst(): () => number {
  let triedMs = Date.now();
  return () => {
    const sinceMs = Date.now() - triedMs;
    triedMs += sinceMs;
    return sinceMs > dialAgainMs + dialJitterMs ? sinceMs + nextServerMs : dialAgainMs + Math.random() * dialJitterMs;
  };
}

/** The client looks into it at each connection. */
function followingTls(files: CertificateFiles): TlsOptions {
  const tls: TlsOptions = { ...files.current };
  files.onChange(() => void Object.assign(tls, files.current));
  return tls;
}

function readSeed(file: string): Uint8Array {
  return new TextEncoder().encode(readFileSync(file, "utf8").trim());
}
