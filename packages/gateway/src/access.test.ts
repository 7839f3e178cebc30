import { getOption, type DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { accessRule, httpRule, identityServices, permissionsOfRoles, Role, services } from "@millrace/protocol";
import { afterAll, expect, test } from "vitest";
import { startGuarded } from "./guard-fixture.ts";

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const { gateway, identity } = stack.use(await startGuarded());

const methods = [...services, ...identityServices].flatMap((service) => service.methods);
const roles = [
  { name: "nobody", numbers: [] },
  { name: "viewer", numbers: [Role.VIEWER] },
  { name: "publisher", numbers: [Role.PUBLISHER] },
  { name: "plugin author", numbers: [Role.PLUGIN_AUTHOR] },
  { name: "operator", numbers: [Role.OPERATOR] },
  { name: "administrator", numbers: [Role.ADMINISTRATOR] },
];

type Door = (method: DescMethod, token: string | undefined) => Promise<Code | undefined>;

function overTransport(transport: Transport): Door {
  return async (method, token) => {
    const header = token === undefined ? {} : { authorization: `Bearer ${token}` };
    try {
      if (method.methodKind === "unary") {
        await transport.unary(method as never, undefined, undefined, header, {});
      } else {
        const input = (async function* () {
          yield {};
        })();
        const answer = await transport.stream(method as never, undefined, undefined, header, input);
        for await (const _ of answer.message) break;
      }
      return undefined;
    } catch (reason) {
      return ConnectError.from(reason).code;
    }
  };
}

const overRest: Door = async (method, token) => {
  const rule = getOption(method, httpRule);
  const [verb, template] = rule.pattern.case === undefined ? ["", ""] : [rule.pattern.case, rule.pattern.value];
  const response = await fetch(`${gateway.httpUrl}${String(template).replace(/\{\w+\}/g, "x")}`, {
    method: verb.toUpperCase(),
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(rule.body === "" ? {} : { body: "{}" }),
  });
  await response.body?.cancel();
  return ({ 401: Code.Unauthenticated, 403: Code.PermissionDenied } as Record<number, Code>)[response.status];
};

const baseUrl = gateway.httpUrl;
const doors: Record<string, Door> = {
  REST: overRest,
  Connect: overTransport(createConnectTransport({ baseUrl, httpVersion: "1.1" })),
  gRPC: overTransport(createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` })),
  "gRPC-web": overTransport(createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })),
};

for (const [name, door] of Object.entries(doors)) {
  test(`${name}: every method asks every role for what it declares`, async () => {
    const wrong: string[] = [];
    for (const role of roles) {
      const token = role.numbers.length === 0 ? undefined : await identity.accessToken(role.numbers);
      const may = permissionsOfRoles(role.numbers) as Set<string>;
      for (const method of methods) {
        const { permission } = getOption(method, accessRule);
        const expected =
          permission === "public"
            ? undefined
            : token === undefined
              ? Code.Unauthenticated
              : permission === "self" || may.has(permission)
                ? undefined
                : Code.PermissionDenied;
        const code = await door(method, token);
        const refused = code === Code.Unauthenticated || code === Code.PermissionDenied ? code : undefined;
        if (refused !== expected) wrong.push(`${role.name} ${method.parent.name}/${method.name}: ${refused}`);
      }
    }
    expect(wrong).toEqual([]);
  }, 60_000);
}

test("every method has a permission and a REST form", () => {
  const bare = methods.filter((method) => getOption(method, accessRule).permission === "");
  expect(bare.map((method) => method.name)).toEqual([]);
  expect(methods.filter((method) => getOption(method, httpRule).pattern.case === undefined)).toEqual([]);
});
