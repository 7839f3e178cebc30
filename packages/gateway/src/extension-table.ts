import {
  InterceptorFailure,
  InterceptorPhase,
  type PluginEndpoint,
  type PluginInterceptor,
  type WatchExtensionsResponse,
} from "@millrace/protocol";

/** One interceptor, ready to be asked. */
export interface Interceptor {
  readonly plugin: string;
  readonly export: string;
  readonly prefixes: readonly string[];
  readonly order: number;
  readonly timeoutMs: number;
  /** A request goes on when it fails. What is not declared is closed. */
  readonly failsOpen: boolean;
}

export interface Endpoint {
  readonly export: string;
  /** Below `/ext/<plugin>/`; of a wildcard what stands before it. */
  readonly path: string;
  readonly wildcard: boolean;
  /** All when empty. */
  readonly methods: readonly string[];
}

/** What active plugins extend, in the order it is asked in. */
export interface ExtensionTable {
  readonly before: readonly Interceptor[];
  readonly after: readonly Interceptor[];
  /** By plugin; exact paths first, then the longest. */
  readonly endpoints: ReadonlyMap<string, readonly Endpoint[]>;
}

const defaultTimeoutMs = 250;

export const noExtensions: ExtensionTable = { before: [], after: [], endpoints: new Map() };

/** Interceptors run from the lowest order to the highest before, and the other way round after; equal ones by plugin. */
export function extensionTable({ plugins }: WatchExtensionsResponse): ExtensionTable {
  const ofPhase = (phase: InterceptorPhase): Interceptor[] =>
    plugins
      .flatMap(({ name, interceptors }) =>
        interceptors.filter((one) => one.phase === phase).map((one) => interceptorOf(name, one)),
      )
      .toSorted((a, b) => a.order - b.order || (a.plugin < b.plugin ? -1 : Number(a.plugin > b.plugin)));
  return {
    before: ofPhase(InterceptorPhase.BEFORE),
    after: ofPhase(InterceptorPhase.AFTER).toReversed(),
    endpoints: new Map(
      plugins
        .filter((plugin) => plugin.endpoints.length > 0)
        .map(({ name, endpoints }) => [name, endpoints.map(endpointOf).toSorted(byPrecedence)]),
    ),
  };
}

export function wantsPath({ prefixes }: Interceptor, path: string): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => path.startsWith(prefix));
}

function interceptorOf(plugin: string, one: PluginInterceptor): Interceptor {
  return {
    plugin,
    export: one.export,
    prefixes: one.pathPrefixes,
    order: one.order,
    timeoutMs: one.timeoutMs || defaultTimeoutMs,
    failsOpen: one.onFailure === InterceptorFailure.OPEN,
  };
}

function endpointOf({ path, methods, export: exportName }: PluginEndpoint): Endpoint {
  const trimmed = path.replace(/^\/+/, "");
  const wildcard = trimmed.endsWith("*");
  return { export: exportName, path: wildcard ? trimmed.slice(0, -1) : trimmed, wildcard, methods };
}

function byPrecedence(a: Endpoint, b: Endpoint): number {
  return Number(a.wildcard) - Number(b.wildcard) || b.path.length - a.path.length;
}
