import type { DescService } from "@bufbuild/protobuf";
import type { CallerInfo } from "@millrace/protocol";
import {
  anonymous,
  type CallContext,
  type CallObserver,
  type Exchange,
  type Identity,
  type PipelineOptions,
  type RpcTransport,
} from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import { createAdmission } from "./admit-calls.ts";
import { AuditTrail } from "./audit-trail.ts";
import { Authenticator } from "./authenticator.ts";
import { createCallerAddress } from "./caller-address.ts";
import { accessTable, checkAccess } from "./check-access.ts";
import { createScopeCheck } from "./check-scope.ts";
import type { GatewayConfig } from "./config.ts";
import { OpenStreams } from "./open-streams.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { rateLimits } from "./rate-limits.ts";
import type { Refusals } from "./refusals.ts";
import { serveKeys } from "./serve-keys.ts";

/** What stands before every call while identity is on. */
export interface DoorGuard extends AsyncDisposable {
  readonly hooks: Required<Pick<PipelineOptions, "identify" | "authorize" | "admit" | "permit" | "follow">>;
  /** Writes down what has to be. */
  readonly observer: CallObserver;
  /** Shows the public keys of access tokens. */
  readonly serveKeys: (exchange: Exchange) => boolean;
  /** What the services behind hear of the caller. */
  callerOf(call: CallContext): CallerInfo;
}

export interface DoorGuardDeps {
  /** Every service that a door offers, and those that custom endpoints go through. */
  readonly services: readonly DescService[];
  readonly transport: RpcTransport;
  readonly identityTransport: RpcTransport;
  readonly refusals: Refusals;
  readonly logger: Logger;
}

/** @throws TypeError when a method does not say who may call it */
export function guardDoors(config: GatewayConfig, deps: DoorGuardDeps): DoorGuard {
  const { transport, identityTransport, refusals, logger } = deps;
  const access = accessTable(deps.services);
  const addressOf = createCallerAddress(config.trustedProxyHops);
  const limits = rateLimits(config);
  const admission = createAdmission(new RateLimiter(identityTransport), limits, addressOf, refusals);
  const authenticator: Authenticator = new Authenticator(identityTransport, refusals, logger, {
    secureCookies: config.secureCookies,
    strangers: admission,
    onNews: () => streams.check(),
  });
  const streams = new OpenStreams(addressOf, refusals, (identity) => authenticator.standing(identity));
  const trail = new AuditTrail(transport, access, addressOf, refusals, logger);
  const checkScope = createScopeCheck(transport, refusals);

  return {
    hooks: {
      identify(call) {
        const asked = access.get(call.method);
        const know = (): Identity | Promise<Identity> => {
          // Credentials that ended must not keep anybody from signing in again.
          if (asked?.permission === "public") return anonymous;
          const identity = authenticator.identify(call);
          // A refusal that leaves an entry has a stranger's rate, as those of users have.
          if (identity !== anonymous || asked?.audited !== true) return identity;
          const admitted = admission.stranger(call);
          return admitted === undefined ? identity : admitted.then(() => identity);
        };
        const admitted = admission.byAddress(call, asked);
        return admitted === undefined ? know() : admitted.then(know);
      },
      authorize(call) {
        const asked = access.get(call.method);
        trail.requireShare(call, asked);
        try {
          checkAccess(call, asked, refusals);
        } catch (denied) {
          const counted = asked?.audited === true ? admission.refused(call) : undefined;
          if (counted === undefined) throw denied;
          return counted.then(() => {
            throw denied;
          });
        }
        trail.require(asked);
      },
      admit: admission.byIdentity,
      permit(call, request) {
        const asked = access.get(call.method);
        if (asked === undefined) return;
        const inScope = checkScope(call, request, asked);
        const count = () => admission.bySubmission(call, request);
        return inScope === undefined ? count() : inScope.then(count);
      },
      follow: (call) => streams.open(call),
    },
    serveKeys: serveKeys(authenticator.keys),
    observer: { ended: (call, error) => trail.record(call, error) },
    callerOf(call) {
      const { subject, email, permissions, queues, types, tokenId, sessionId } = call.identity;
      return {
        subject,
        email,
        permissions: [...permissions],
        queues,
        types,
        tokenId,
        sessionId,
        address: addressOf(call),
        requestId: call.requestId,
        door: call.protocolName,
      };
    },
    async [Symbol.asyncDispose]() {
      streams[Symbol.dispose]();
      await authenticator[Symbol.asyncDispose]();
      await trail[Symbol.asyncDispose]();
    },
  };
}
