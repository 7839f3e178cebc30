import { getOption, hasOption, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { accessRule, Health, isPermission, PluginRuntimeService, ServerReflection } from "@millrace/protocol";
import type { CallContext } from "@millrace/rpc";
import type { Refusals } from "./refusals.ts";

/** What a method asks of its caller. */
export interface MethodAccess {
  /** `public`, `self` or a permission. */
  readonly permission: string;
  readonly audited: boolean;
}

/** Services that are not ours, or that no door offers under their own name. */
const ofServices: Readonly<Record<string, MethodAccess>> = {
  [Health.typeName]: { permission: "public", audited: false },
  [ServerReflection.typeName]: { permission: "self", audited: false },
  "grpc.reflection.v1alpha.ServerReflection": { permission: "self", audited: false },
  // Custom endpoints run plugins.
  [PluginRuntimeService.typeName]: { permission: "plugins:call", audited: false },
};

/**
 * What every method asks for.
 * @throws TypeError that names all methods which do not say
 */
export function accessTable(services: readonly DescService[]): ReadonlyMap<DescMethod, MethodAccess> {
  const table = new Map<DescMethod, MethodAccess>();
  const silent: string[] = [];
  for (const service of services) {
    for (const method of service.methods) {
      const access = ofServices[service.typeName] ?? declaredAccess(method);
      if (access === undefined) silent.push(`${service.typeName}/${method.name}`);
      else table.set(method, access);
    }
  }
  if (silent.length > 0) throw new TypeError(`methods that do not say who may call them: ${silent.join(", ")}`);
  return table;
}

function declaredAccess(method: DescMethod): MethodAccess | undefined {
  if (!hasOption(method, accessRule)) return undefined;
  const { permission, audited } = getOption(method, accessRule);
  const known = permission === "public" || permission === "self" || isPermission(permission);
  return known ? { permission, audited } : undefined;
}

/** @throws ConnectError unauthenticated without a caller, permission_denied without the permission */
export function checkAccess(call: CallContext, access: MethodAccess | undefined, refusals: Refusals): void {
  const { permission } = access ?? { permission: "" };
  if (permission === "public") return;
  const { identity } = call;
  if (identity.subject === "anonymous") throw refusals.unauthenticated("unauthenticated");
  if (permission === "self" || identity.permissions.has(permission)) return;
  throw refusals.denied("permission", `${permission} is needed`);
}
