import {
  create,
  ScalarType,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
} from "@bufbuild/protobuf";
import { FieldMaskSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { AuthService, permissionsOfRoles, Role, TokenService, UserService } from "@millrace/protocol";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addUser, callAs, startIdentityFixture, type CallHeaders, type IdentityFixture } from "./identity-fixture.ts";

const requestsEach = 25;
let fixture: IdentityFixture;
let root: CallHeaders;
beforeAll(async () => {
  fixture = await startIdentityFixture({ registration: () => "open" });
  const subject = await addUser(fixture, "root@example.com", [Role.ADMINISTRATOR]);
  root = callAs({ subject, sessionId: "s", permissions: [...permissionsOfRoles([Role.ADMINISTRATOR])], address: "" });
});
afterAll(() => fixture[Symbol.asyncDispose]());

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "\0",
    "a\0b@example.com",
    "\ud800",
    "root@example.com",
    "'; --",
    "correct horse battery",
    "%",
    "{}",
  ),
);

function valueOf(field: DescField): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case "list":
      return fc.array<unknown>(field.listKind === "enum" ? fc.integer({ min: -1, max: 7 }) : text, { maxLength: 4 });
    case "enum":
      return fc.integer({ min: -1, max: 7 });
    case "message":
      return messageOf(field.message);
    case "map":
      return fc.constant({});
    case "scalar":
      if (field.scalar === ScalarType.BOOL) return fc.boolean();
      return field.scalar === ScalarType.STRING ? text : fc.nat(1_000);
  }
}

function messageOf(desc: DescMessage): fc.Arbitrary<Message> {
  if (desc.typeName === TimestampSchema.typeName) {
    const seconds = fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n });
    return seconds.map((value) => create(TimestampSchema, { seconds: value }));
  }
  if (desc.typeName === FieldMaskSchema.typeName) {
    const path = fc.oneof(text, fc.constantFrom("email", "display_name", "roles", "disabled"));
    return fc.array(path, { maxLength: 3 }).map((paths) => create(FieldMaskSchema, { paths }));
  }
  const fields = Object.fromEntries(desc.fields.map((field) => [field.localName, valueOf(field)]));
  return fc.record(fields, { requiredKeys: [] }).map((init) => create(desc, init));
}

const clients = (): [{ typeName: string; methods: DescMethod[] }, unknown][] => [
  [AuthService, fixture.auth],
  [UserService, fixture.users],
  [TokenService, fixture.tokens],
];

test.for([...AuthService.methods, ...UserService.methods, ...TokenService.methods])(
  "%s answers whatever comes with an answer or a refusal",
  async (method) => {
    const client = clients().find(([service]) => service.typeName === method.parent.typeName)?.[1];
    const call = (client as Record<string, (request: Message, options: CallHeaders) => Promise<Message>>)[
      method.localName
    ];
    await fc.assert(
      fc.asyncProperty(messageOf(method.input), async (request) => {
        const error = await call?.(request, root).then(
          () => undefined,
          (reason: unknown) => ConnectError.from(reason),
        );
        expect([Code.Internal, Code.Unknown], error?.cause === undefined ? "" : String(error.cause)).not.toContain(
          error?.code,
        );
      }),
      { numRuns: requestsEach },
    );
  },
);
