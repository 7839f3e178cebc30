// A small identity and control behind a gateway on real sockets, with real keys.
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  AuditRuntimeService,
  type AuditEntry,
  CallerSchema,
  identityServices,
  IdentityRuntimeService,
  JobService,
  LimiterRuntimeService,
  MillraceError,
  PluginRuntimeService,
  services,
  SystemService,
  type CallerInfo,
  type WatchRevocationsResponse,
} from "@millrace/protocol";
import { bindService, callerOf, createDirectTransport, createPipeline, type ServiceBinding } from "@millrace/rpc";
import { createLogger, createMetrics, Health, type Metrics } from "@millrace/service-kit";
import { exportJWK, generateKeyPair, SignJWT, type JWK, type JWTPayload } from "jose";
import { readGatewayConfig, type GatewayConfig } from "./config.ts";
import { startGateway, type Gateway } from "./start-gateway.ts";
import { TokenBucket } from "./token-bucket.ts";

type Revocation = Partial<Pick<WatchRevocationsResponse, "sessionIds" | "tokenIds">> & { user?: string };

export interface TestIdentity {
  /** An access token; claims and header fields may be replaced. */
  accessToken(roles: number[], claims?: JWTPayload, header?: { kid?: string; alg?: string }): Promise<string>;
  /** An API token of an owner with all roles. */
  apiToken(name: string, permissions: string[], limits?: { queues?: string[]; types?: string[] }): string;
  revoke(what: Revocation): void;
  /** Makes a new key; access tokens are signed with it from then on. */
  rotate(): Promise<void>;
  /** Of the key that access tokens are signed with, as it is published. */
  readonly publicKey: JWK;
  readonly findTokenCalls: number;
  readonly getKeysCalls: number;
  readonly audit: AuditEntry[];
  /** Resolves when so many entries are there. */
  audited(count: number): Promise<AuditEntry[]>;
  readonly callers: (CallerInfo | undefined)[];
  away: boolean;
  /** While it is set, tokens and keys are looked up, and nobody is told. */
  hangs: boolean;
}

export interface Guarded extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly identity: TestIdentity;
  readonly metrics: Metrics;
}

export async function startGuarded(
  config: Partial<GatewayConfig> = {},
  jobs: Partial<ServiceImpl<typeof JobService>> = {},
): Promise<Guarded> {
  let keys: { jwk: JWK; privateKey: CryptoKey }[] = [];
  const tokens = new Map<string, ReturnType<typeof create<typeof CallerSchema>>>();
  const buckets = new Map<string, TokenBucket>();
  const watchers = new Set<(news: WatchRevocationsResponse) => void>();
  const waiting: { count: number; resolve: (entries: AuditEntry[]) => void }[] = [];
  const counts = { findToken: 0, getKeys: 0 };

  async function addKey(alg: "EdDSA" | "ES256"): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    keys = [
      ...keys,
      { jwk: { ...(await exportJWK(publicKey)), kid: `key-${keys.length}`, alg, use: "sig" }, privateKey },
    ];
  }
  await addKey("EdDSA");

  const identity: TestIdentity = {
    async accessToken(roles, claims = {}, header = {}) {
      const key = keys.at(-1);
      if (key === undefined) throw new Error("no key");
      const now = Math.floor(Date.now() / 1000);
      const payload = { sub: "u1", sid: "s1", iss: "millrace", aud: "millrace", iat: now, exp: now + 900, roles };
      const protectedHeader = { alg: key.jwk.alg ?? "EdDSA", kid: key.jwk.kid ?? "", ...header };
      return new SignJWT({ ...payload, ...claims }).setProtectedHeader(protectedHeader).sign(key.privateKey);
    },
    apiToken(name, permissions, { queues = [], types = [] } = {}) {
      const secret = `mr_${createHash("sha256").update(name).digest("base64url")}`;
      const hash = createHash("sha256").update(secret).digest("hex");
      const caller = { userId: "u2", email: "u2@example.org", permissions, queues, types, tokenId: name };
      tokens.set(hash, create(CallerSchema, caller));
      return secret;
    },
    revoke({ sessionIds = [], tokenIds = [], user }) {
      const users = user === undefined ? [] : [{ userId: user, issuedBefore: timestampFromMs(Date.now() + 1) }];
      for (const tell of watchers) tell({ sessionIds, tokenIds, users, complete: false } as never);
    },
    rotate: () => addKey("ES256"),
    get publicKey() {
      return keys.at(-1)?.jwk ?? {};
    },
    get findTokenCalls() {
      return counts.findToken;
    },
    get getKeysCalls() {
      return counts.getKeys;
    },
    audit: [],
    audited(count) {
      const { promise, resolve } = Promise.withResolvers<AuditEntry[]>();
      waiting.push({ count, resolve });
      settleAudits();
      return promise;
    },
    callers: [],
    away: false,
    hangs: false,
  };
  function settleAudits(): void {
    for (const one of waiting) if (identity.audit.length >= one.count) one.resolve(identity.audit);
  }
  const requireHere = (): void => {
    if (identity.away) throw new MillraceError("unavailable", "away");
  };

  const answering = (): Promise<void> => (identity.hangs ? new Promise(() => {}) : Promise.resolve());

  const runtime: ServiceImpl<typeof IdentityRuntimeService> = {
    async getKeys() {
      requireHere();
      counts.getKeys++;
      await answering();
      return { jwks: JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }) };
    },
    async findToken({ secretHash }) {
      requireHere();
      counts.findToken++;
      await answering();
      const caller = tokens.get(Buffer.from(secretHash).toString("hex"));
      return caller === undefined ? {} : { caller };
    },
    async *watchRevocations(_request, { signal }) {
      const queue: WatchRevocationsResponse[] = [{ complete: true } as never];
      let wake = (): void => {};
      const tell = (news: WatchRevocationsResponse): void => {
        queue.push(news);
        wake();
      };
      watchers.add(tell);
      signal.addEventListener("abort", () => wake(), { once: true });
      try {
        while (!signal.aborted) {
          const next = queue.shift();
          if (next !== undefined) yield next;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        watchers.delete(tell);
      }
    },
  };
  const limiter: ServiceImpl<typeof LimiterRuntimeService> = {
    lease: ({ wishes }) => ({
      grants: wishes.map(({ key, tokens: wanted, ratePerMinute, burst }) => {
        requireHere();
        const perSecond = ratePerMinute / 60;
        const rate = { perSecond, burst };
        let bucket = buckets.get(key);
        if (bucket === undefined) buckets.set(key, (bucket = new TokenBucket(rate, performance.now())));
        const given = bucket.take(wanted, rate, performance.now());
        return { tokens: given, retryAfterMs: given < wanted ? Math.ceil(1000 / perSecond) : 0, remaining: 0 };
      }),
    }),
  };
  const audit: ServiceImpl<typeof AuditRuntimeService> = {
    append({ entries }) {
      requireHere();
      identity.audit.push(...entries);
      settleAudits();
      return {};
    },
  };
  const control: Partial<ServiceImpl<typeof JobService>> = {
    getJob({ id }, context) {
      identity.callers.push(callerOf(context));
      return { job: { id, queue: id.split("-")[0] ?? "", type: id.split("-")[1] ?? "" } };
    },
    submitJob: ({ id }) => ({ id }),
    async streamJobs(requests) {
      let accepted = 0n;
      for await (const _ of requests) accepted += 1n;
      return { accepted };
    },
    cancelJob: ({ id }) => {
      if (id === "ended") throw new MillraceError("aborted", "job ended has ended");
      return {};
    },
    ...jobs,
  };
  const bare = [...services, ...identityServices].filter((one) => one !== JobService && one !== SystemService);
  const pipeline = createPipeline({
    services: [
      bindService(JobService, control as ServiceImpl<typeof JobService>),
      ...bare.map((service): ServiceBinding => [service, {}]),
      [PluginRuntimeService, {}],
      bindService(IdentityRuntimeService, runtime),
      bindService(LimiterRuntimeService, limiter),
      bindService(AuditRuntimeService, audit),
    ],
  });
  const metrics = createMetrics();
  const gateway = await startGateway(
    { ...readGatewayConfig(), httpPort: 0, grpcPort: 0, identity: "on", ...config },
    {
      transport: createDirectTransport(pipeline),
      metrics,
      health: new Health(),
      logger: createLogger({ name: "gateway", level: "silent" }),
    },
  );
  return { gateway, identity, metrics, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}
