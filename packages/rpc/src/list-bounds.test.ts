import { create, type DescMessage } from "@bufbuild/protobuf";
import {
  identityServices,
  services,
  GetJobRequestSchema,
  PluginManifestSchema,
  SubmitJobRequestSchema,
  SubmitJobsRequestSchema,
} from "@millrace/protocol";
import { expect, test } from "vitest";
import { fieldRules } from "./field-rules.ts";
import { createListBoundsCheck } from "./list-bounds.ts";
import { createMessageValidator } from "./validation.ts";

const tags = Array.from({ length: 21 }, () => "no tag");
const reason = "must contain no more than 20 item(s)";

test("of a list that is too long nothing else is looked at: a body has room for seconds of that", () => {
  const validate = createMessageValidator(SubmitJobRequestSchema);
  const job = create(SubmitJobRequestSchema, { type: "no type", tags });
  expect(() => validate?.(job)).toThrow(expect.objectContaining({ rawMessage: `tags: ${reason}` }));
});

test("lists are found wherever they stand, but where their place is left to others", () => {
  const path = "/a";
  const pathPrefixes = Array.from({ length: 33 }, () => path);
  const manifest = create(PluginManifestSchema, { interceptors: [{ pathPrefixes: [path] }, { pathPrefixes }] });
  expect(createListBoundsCheck(PluginManifestSchema)?.(manifest)).toEqual([
    { field: "interceptors[1].path_prefixes", reason: "must contain no more than 32 item(s)" },
  ]);
  const bulk = create(SubmitJobsRequestSchema, { jobs: [{ tags }] });
  expect(createListBoundsCheck(SubmitJobsRequestSchema)?.(bulk)).toEqual([]);
  expect(createListBoundsCheck(GetJobRequestSchema)).toBeUndefined();
});

/** Lists that a message of ours has room for and no rule bounds. */
function unbounded(desc: DescMessage, seen = new Set<DescMessage>()): string[] {
  if (seen.has(desc) || !desc.typeName.startsWith("millrace.")) return [];
  seen.add(desc);
  return desc.fields.flatMap((field) => {
    const type = fieldRules(field)?.type;
    const bounded = type?.case === "repeated" && type.value.maxItems > 0n;
    const own = field.fieldKind === "list" && !bounded ? [`${desc.typeName}.${field.name}`] : [];
    return field.message === undefined ? own : [...own, ...unbounded(field.message, seen)];
  });
}

test("every list that callers may send has a bound", () => {
  const methods = [...services, ...identityServices].flatMap((service) => service.methods);
  expect(methods.flatMap(({ input }) => unbounded(input))).toEqual([]);
});
