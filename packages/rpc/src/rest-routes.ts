import { getOption, hasOption, type DescMethod } from "@bufbuild/protobuf";
import { httpRule, type HttpRule } from "@millrace/protocol";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";

/** One way to reach a method by REST, from its google.api.http annotation. */
export interface RestRoute {
  readonly verb: string;
  /** As written: `/api/v1/jobs/{id}:cancel` */
  readonly template: string;
  readonly method: PipelineMethod;
  /** `*`, a field's name, or empty: no body. */
  readonly body: string;
  /** The response field that becomes the body; empty: the whole message. */
  readonly responseBody: string;
  /** Proto field paths of the variables, in order. */
  readonly variables: readonly string[];
}

export type RestMatch =
  | { readonly kind: "found"; readonly route: RestRoute; readonly values: readonly string[] }
  | { readonly kind: "wrong_verb"; readonly allow: string }
  | { readonly kind: "none" };

export interface RestRouter {
  readonly routes: readonly RestRoute[];
  match(verb: string, path: string): RestMatch;
}

// Undefined is a variable, text stands for itself.
type Segment = string | undefined;
interface Pattern {
  readonly route: RestRoute;
  readonly segments: readonly Segment[];
  readonly suffix: string;
}

/** The HTTP rules of a method: its own and the additional bindings. */
export function httpRules(method: DescMethod): HttpRule[] {
  if (!hasOption(method, httpRule)) return [];
  const rule = getOption(method, httpRule);
  return [rule, ...rule.additionalBindings];
}

export function verbAndTemplate(rule: HttpRule): [verb: string, template: string] | undefined {
  const { pattern } = rule;
  if (pattern.case === undefined) return undefined;
  if (pattern.case === "custom") return [pattern.value.kind, pattern.value.path];
  return [pattern.case.toUpperCase(), pattern.value];
}

/** Compiles the routes of all methods. */
export function createRestRouter(pipeline: Pipeline): RestRouter {
  const fixed = new Map<string, Map<string, RestRoute>>();
  const patterns: Pattern[] = [];
  const routes: RestRoute[] = [];
  for (const method of pipeline.methods.values()) {
    for (const rule of httpRules(method.desc)) {
      const target = verbAndTemplate(rule);
      if (target === undefined) continue;
      const [verb, template] = target;
      const { segments, suffix, variables } = parseTemplate(template);
      const route = { verb, template, method, body: rule.body, responseBody: rule.responseBody, variables };
      routes.push(route);
      if (variables.length > 0) {
        patterns.push({ route, segments, suffix });
        continue;
      }
      let byVerb = fixed.get(template);
      if (byVerb === undefined) fixed.set(template, (byVerb = new Map()));
      byVerb.set(verb, route);
    }
  }

  // `HEAD` is answered as `GET`; Node drops the body.
  function match(verb: string, path: string): RestMatch {
    const wanted = verb === "HEAD" ? "GET" : verb;
    const byVerb = fixed.get(path);
    const route = byVerb?.get(wanted);
    if (route !== undefined) return { kind: "found", route, values: [] };
    const allow = new Set(byVerb?.keys());
    const parts = path.slice(1).split("/");
    for (const pattern of patterns) {
      const values = matchPattern(pattern, parts);
      if (values === undefined) continue;
      if (pattern.route.verb === wanted) return { kind: "found", route: pattern.route, values };
      allow.add(pattern.route.verb);
    }
    return allow.size === 0 ? { kind: "none" } : { kind: "wrong_verb", allow: [...allow].sort().join(", ") };
  }

  return { routes, match };
}

function parseTemplate(template: string): { segments: Segment[]; suffix: string; variables: string[] } {
  const variables: string[] = [];
  const verbMark = /:[A-Za-z0-9_]+$/.exec(template);
  const suffix = verbMark?.[0] ?? "";
  const segments = template
    .slice(1, template.length - suffix.length)
    .split("/")
    .map((part) => {
      const variable = /^\{([A-Za-z0-9_.]+)(?:=\*)?\}$/.exec(part)?.[1];
      if (variable === undefined) {
        if (/[{}*]/.test(part)) throw new Error(`unsupported path template: ${template}`);
        return part;
      }
      variables.push(variable);
      return undefined;
    });
  return { segments, suffix, variables };
}

function matchPattern(pattern: Pattern, parts: readonly string[]): string[] | undefined {
  const { segments, suffix } = pattern;
  if (segments.length !== parts.length) return undefined;
  const values: string[] = [];
  for (let i = 0; i < segments.length; i += 1) {
    const segment = segments[i];
    let part = parts[i] ?? "";
    if (i === segments.length - 1) {
      if (suffix !== "") {
        if (!part.endsWith(suffix)) return undefined;
        part = part.slice(0, -suffix.length);
      } else if (segment === undefined && part.includes(":")) {
        return undefined; // `/jobs/x:explode` is an unknown action, not a job called `x:explode`
      }
    }
    if (segment !== undefined) {
      if (segment !== part) return undefined;
      continue;
    }
    if (part === "") return undefined;
    values.push(part);
  }
  return values;
}
