import { BusError } from "./bus-error.ts";

export interface NamespaceOptions {
  /** In front of every subject, stream and bucket, so that several installations share one account of the broker. */
  readonly prefix?: string | undefined;
  /** JetStream's domain, where the streams are not those of the server that we are connected to. */
  readonly domain?: string | undefined;
}

/** What names are translated by: one way out, and the other way in. */
interface Direction {
  readonly subject: (subject: string) => string;
  readonly stream: (stream: string) => string;
}

const apiRoot = "$JS.API.";
const ackRoot = "$JS.ACK.";
const advisoryRoot = "$JS.EVENT.ADVISORY.";
const consumerElectionsRoot = `${advisoryRoot}CONSUMER.LEADER_ELECTED.`;
const streamElectionsRoot = `${advisoryRoot}STREAM.LEADER_ELECTED.`;
const kvRoot = "$KV.";
const objectRoot = "$O.";
const underscore = "_".charCodeAt(0);
const dollar = "$".charCodeAt(0);
const prefixForm = /^[a-z][a-z0-9-]{0,31}$/;
const domainForm = /^[\w-]{1,64}$/;
/** First tokens of an installation without a prefix: `jobs.jobs.high…` would be a job of it. */
const taken: ReadonlySet<string> = new Set(
  "jobs schedule events run rpc cmd ask invoke stats logs actor journal upgrade".split(" "),
);

/**
 * Our own names (`jobs.high…`, `JOBS_HIGH`, `millrace_queues`) and those on the wire (`acme.jobs.high…`, `ACME_JOBS_HIGH`,
 * `acme_millrace_queues`). Everything above the connection knows the first only; without prefix and domain there is no Namespace,
 * and both are the same.
 *
 * What begins with `_` stays: inboxes, and answers to other accounts. An answer elsewhere goes under the prefix like everything.
 */
export class Namespace {
  /** JetStream's, where it is not that of the server that we are connected to. */
  readonly domain: string | undefined;
  readonly #prefixed: boolean;
  readonly #subjectPrefix: string;
  readonly #streamPrefix: string;
  readonly #bucketPrefix: string;
  readonly #api: string;
  readonly #kvWrites: string;
  readonly #out: Direction;
  readonly #in: Direction;

  private constructor(prefix: string, domain: string) {
    this.domain = domain === "" ? undefined : domain;
    this.#prefixed = prefix !== "";
    this.#subjectPrefix = prefix === "" ? "" : `${prefix}.`;
    this.#streamPrefix = prefix === "" ? "" : `${prefix.toUpperCase()}_`;
    this.#bucketPrefix = prefix === "" ? "" : `${prefix}_`;
    this.#api = domain === "" ? apiRoot : `$JS.${domain}.API.`;
    // The domain's server takes it from there (nats-server, generateJSMappingTable); object stores have no such way.
    this.#kvWrites = domain === "" ? kvRoot : `${this.#api}${kvRoot}`;
    this.#out = { subject: (subject) => this.stored(subject), stream: (stream) => this.stream(stream) };
    this.#in = { subject: (subject) => this.ownSubject(subject), stream: (stream) => this.ownStream(stream) };
  }

  /** @returns undefined when there is neither prefix nor domain @throws BusError invalid_argument */
  static of({ prefix = "", domain = "" }: NamespaceOptions): Namespace | undefined {
    if (prefix === "" && domain === "") return undefined;
    if (prefix !== "" && (!prefixForm.test(prefix) || taken.has(prefix))) {
      const rule =
        "small letters, digits and dashes, beginning with a letter, and no first token of a subject of Millrace's";
      throw new BusError("invalid_argument", `not a prefix: ${JSON.stringify(prefix)}; it has ${rule}`);
    }
    if (domain !== "" && !domainForm.test(domain)) {
      throw new BusError("invalid_argument", `not a JetStream domain: ${JSON.stringify(domain)}`);
    }
    return new Namespace(prefix, domain);
  }

  /** Where a message goes that is published to a subject of ours. */
  published(subject: string): string {
    const first = subject.charCodeAt(0);
    if (first === underscore) return subject;
    if (first !== dollar) return this.#subjectPrefix + subject;
    if (subject.startsWith(apiRoot)) return this.#api + this.#apiCall(subject.slice(apiRoot.length));
    if (subject.startsWith(kvRoot)) return this.#kvWrites + this.#bucketPrefix + subject.slice(kvRoot.length);
    return this.stored(subject);
  }

  /** A subject of ours as streams store it and subscribers name it. */
  stored(subject: string): string {
    const first = subject.charCodeAt(0);
    if (first === underscore) return subject;
    if (first !== dollar) return this.#subjectPrefix + subject;
    if (subject.startsWith(apiRoot)) return this.#api + this.#apiCall(subject.slice(apiRoot.length));
    for (const root of [consumerElectionsRoot, streamElectionsRoot]) {
      if (subject.startsWith(root)) return root + this.stream(subject.slice(root.length));
    }
    for (const root of [kvRoot, objectRoot]) {
      if (subject.startsWith(root)) return root + this.#bucketPrefix + subject.slice(root.length);
    }
    return subject;
  }

  /** Our own name of a subject on the wire. What is not of this installation stays as it is. */
  ownSubject(subject: string): string {
    const first = subject.charCodeAt(0);
    if (first === underscore) return subject;
    if (first !== dollar) return withoutPrefix(subject, this.#subjectPrefix);
    for (const root of [kvRoot, objectRoot]) {
      if (subject.startsWith(root)) return root + withoutPrefix(subject.slice(root.length), this.#bucketPrefix);
    }
    return subject;
  }

  /** `JOBS_HIGH` as `ACME_JOBS_HIGH`, and `KV_millrace_queues` as `KV_acme_millrace_queues`. */
  stream(stream: string): string {
    if (stream === "*" || stream === ">") return stream;
    const kind = bucketKind(stream);
    return kind === "" ? this.#streamPrefix + stream : kind + this.#bucketPrefix + stream.slice(kind.length);
  }

  ownStream(stream: string): string {
    const kind = bucketKind(stream);
    if (kind === "") return withoutPrefix(stream, this.#streamPrefix);
    return kind + withoutPrefix(stream.slice(kind.length), this.#bucketPrefix);
  }

  /** The subject of acks for a consumer, in either form (with domain and account, or without). */
  acks(subject: string): string {
    const tokens = subject.split(".");
    // A form with wildcards for domain and account, or without them.
    const at = tokens[2] === "*" ? 4 : 2;
    return tokens.map((token, index) => (index === at ? this.stream(token) : token)).join(".");
  }

  /** As a user of the broker is allowed to publish. */
  permission(subject: string): string {
    return subject.startsWith(ackRoot) ? this.acks(subject) : this.published(subject);
  }

  /** A request to JetStream with the names on the wire. */
  request(body: object): object {
    return this.#prefixed ? (translated(body, this.#out) as object) : body;
  }

  /** JetStream's answer with our own names. */
  answer(json: unknown): unknown {
    return this.#prefixed ? translated(json, this.#in) : json;
  }

  /** What follows `$JS.API.`: the stream stands behind two words or three, and a subject behind some. */
  #apiCall(call: string): string {
    if (!this.#prefixed) return call;
    const tokens = call.split(".");
    const at = /^(STREAM|CONSUMER)\.(MSG|LEADER|PEER|DURABLE)\./.test(call) ? 3 : 2;
    const stream = tokens[at];
    if (stream === undefined) return call;
    const subjectAt = call.startsWith("DIRECT.GET.") ? at + 1 : call.startsWith("CONSUMER.CREATE.") ? at + 2 : Infinity;
    const head = [...tokens.slice(0, at), this.stream(stream), ...tokens.slice(at + 1, subjectAt)].join(".");
    const subject = tokens.slice(subjectAt).join(".");
    return subject === "" ? head : `${head}.${this.stored(subject)}`;
  }
}

/** Where a cluster tells that consumers of a stream were given a leader; the last token is the consumer. */
export function consumerElections(stream: string): string {
  return `${consumerElectionsRoot}${stream}.*`;
}

/** Where a cluster tells that a stream was given a leader. */
export function streamElections(stream: string): string {
  return streamElectionsRoot + stream;
}

/** Whether a subscription only makes things faster, which a user of the broker need not be allowed. */
export function isElections(subject: string): boolean {
  return subject.startsWith(consumerElectionsRoot) || subject.startsWith(streamElectionsRoot);
}

function withoutPrefix(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

function bucketKind(stream: string): "KV_" | "OBJ_" | "" {
  return stream.startsWith("KV_") ? "KV_" : stream.startsWith("OBJ_") ? "OBJ_" : "";
}

/** Members of JetStream's requests and answers that hold subjects. */
const subjectMembers: ReadonlySet<string> = new Set(
  "subject filter filter_subject subjects_filter last_by_subj next_by_subj src dest".split(" "),
);
const subjectLists: ReadonlySet<string> = new Set(["subjects", "filter_subjects", "multi_last"]);
const streamMembers: ReadonlySet<string> = new Set(["stream", "stream_name"]);
/** What others have written, whatever its members are called. */
const opaque: ReadonlySet<string> = new Set(["metadata", "headers", "data", "hdrs"]);

function translated(value: unknown, names: Direction, isNamed = false): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => translated(item, names, isNamed));
  if (typeof value !== "object" || value === null) return value;
  // A consumer has a name too, which is its stream's business.
  const isStream = isNamed || "retention" in value || ("subjects" in value && Array.isArray(value.subjects));
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      member === undefined ? member : memberOf(key, member, isStream, names),
    ]),
  );
}

function memberOf(key: string, member: unknown, isStream: boolean, names: Direction): unknown {
  if (opaque.has(key)) return member;
  if (typeof member === "string") {
    if (subjectMembers.has(key)) return names.subject(member);
    return streamMembers.has(key) || (isStream && key === "name") ? names.stream(member) : member;
  }
  if (key === "streams" && Array.isArray(member)) return member.map((item) => streamItem(item, names));
  if (!subjectLists.has(key)) return translated(member, names, key === "mirror" || key === "sources");
  if (Array.isArray(member)) return member.map((item) => (typeof item === "string" ? names.subject(item) : item));
  // How many messages there are, by subject.
  return Object.fromEntries(
    Object.entries(member as object).map(([subject, count]) => [names.subject(subject), count]),
  );
}

function streamItem(item: unknown, names: Direction): unknown {
  return typeof item === "string" ? names.stream(item) : translated(item, names);
}
