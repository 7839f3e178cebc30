import { create } from "@bufbuild/protobuf";
import {
  GetJobRequestSchema,
  PluginManifestSchema,
  SubmitJobRequestSchema,
  SubmitJobsRequestSchema,
} from "@millrace/protocol";
import { expect, test } from "vitest";
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
