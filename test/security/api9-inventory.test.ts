/** API9:2023, improper inventory management: what answers is what is described, and nothing else does. */
import { getOption, type DescMethod } from "@bufbuild/protobuf";
import {
  accessRule,
  AuditRuntimeService,
  httpRule,
  IdentityRuntimeService,
  identityServices,
  LimiterRuntimeService,
  PluginRuntimeService,
  ServerReflection,
  services,
  SettingsRuntimeService,
} from "@millrace/protocol";
import { connect } from "nats";
import { afterAll, expect, it } from "vitest";
import { Attacker, bearer, secured } from "./attacker.ts";

const attacker = new Attacker("api9", 9);
afterAll(() => attacker[Symbol.dispose]());

const administrator = bearer(secured.token);
const offered = [...services, ...identityServices];
const methods: DescMethod[] = offered.flatMap((service) => [...service.methods]);
const internal = [
  IdentityRuntimeService,
  LimiterRuntimeService,
  PluginRuntimeService,
  AuditRuntimeService,
  SettingsRuntimeService,
];

interface Described {
  paths: Record<string, Record<string, { operationId: string; security: object[] }>>;
}

async function described(): Promise<Described> {
  return (await (await attacker.fetch("/openapi.json")).json()) as Described;
}

const routeOf = (method: DescMethod): string => {
  const { pattern } = getOption(method, httpRule);
  return `${pattern.case?.toUpperCase()} ${String(pattern.value)}`;
};

it("the description has every route of the contract, and no other", async () => {
  const { paths } = await described();
  const routes = Object.entries(paths).flatMap(([path, verbs]) =>
    Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
  );
  expect(routes.toSorted()).toEqual(methods.map(routeOf).toSorted());
});

it("the description says which routes need credentials, and which do not", async () => {
  const { paths } = await described();
  const open = Object.values(paths)
    .flatMap((verbs) => Object.values(verbs))
    .filter(({ security }) => security.length === 0);
  const declared = methods.filter((method) => getOption(method, accessRule).permission === "public");
  expect(open.map(({ operationId }) => operationId).toSorted()).toEqual(
    declared.map(({ parent, name }) => `${parent.name}.${name}`).toSorted(),
  );
});

it("every route that is described is there, and asks who calls", async () => {
  const wrong: string[] = [];
  for (const method of methods) {
    const [verb = "", path = ""] = routeOf(method).split(" ");
    const body = verb === "GET" || verb === "DELETE" ? {} : { body: "{}" };
    const response = await attacker.fetch(path.replace(/\{\w+\}/g, "x"), { method: verb, ...body });
    await response.body?.cancel();
    const isPublic = getOption(method, accessRule).permission === "public";
    if (isPublic ? [401, 404].includes(response.status) && method.name !== "Refresh" : response.status !== 401) {
      wrong.push(`${verb} ${path}: ${response.status}`);
    }
  }
  expect(wrong).toEqual([]);
});

it("no other verb, version or neighbour of a route answers, to an administrator either", async () => {
  const { paths } = await described();
  const verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"];
  const wrong: string[] = [];
  const expectNothing = async (verb: string, path: string, statuses: number[]): Promise<void> => {
    const response = await attacker.fetch(path, { method: verb, headers: administrator });
    await response.body?.cancel();
    if (!statuses.includes(response.status)) wrong.push(`${verb} ${path}: ${response.status}`);
  };
  for (const [template, known] of Object.entries(paths)) {
    const path = template.replace(/\{\w+\}/g, "x");
    for (const verb of verbs) if (!(verb.toLowerCase() in known)) await expectNothing(verb, path, [404, 405]);
  }
  for (const version of ["v0", "v2", "v1beta1", "v1alpha1", "internal", "latest"]) {
    await expectNothing("GET", `/api/${version}/jobs`, [404]);
    await expectNothing("POST", `/millrace.jobs.${version}.JobService/ListJobs`, [404]);
  }
  for (const path of [
    "/",
    "/v1/jobs",
    "/api",
    "/api/v1",
    "/api/v1/",
    "/api/v1/debug",
    "/api/v1/jobs:purge",
    "/rpc",
    "/swagger.json",
  ]) {
    await expectNothing("GET", path, [404]);
  }
  expect(wrong).toEqual([]);
}, 60_000);

it("reflection names what is offered, and no more", async () => {
  const door = attacker.door("gRPC", administrator);
  const { answer } = await door(ServerReflection.method.serverReflectionInfo, { listServices: "" });
  const { service } = answer["listServicesResponse"] as { service: { name: string }[] };
  const beside = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
  ];
  const names = service.map(({ name }) => name).filter((name) => !beside.includes(name));
  expect(names.toSorted()).toEqual(offered.map(({ typeName }) => typeName).toSorted());
});

it("services that are for Millrace itself are on no list, at no door", async () => {
  const text = JSON.stringify(await described());
  const page = await (await attacker.fetch("/docs")).text();
  for (const { typeName, name, methods: own } of internal) {
    expect(text).not.toContain(name);
    expect(page).not.toContain(name);
    for (const method of own) expect((await attacker.fetch(`/${typeName}/${method.name}`)).status).toBe(404);
  }
});

it("whoever may use the broker of this machine does not reach identity through it", async () => {
  const nats = await connect({ servers: secured.natsUrl });
  try {
    for (const service of [...identityServices, IdentityRuntimeService, LimiterRuntimeService]) {
      const [method] = service.methods as readonly DescMethod[];
      for (const prefix of ["rpc", "gateway.rpc"]) {
        const asked = nats.request(`${prefix}.${service.typeName}.${method?.name}`, "{}", { timeout: 2_000 });
        await expect(asked, service.name).rejects.toMatchObject({ code: "503" });
      }
    }
  } finally {
    await nats.close();
  }
});
