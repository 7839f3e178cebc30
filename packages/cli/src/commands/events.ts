import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { MillraceError, PublishEventResponseSchema } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { readPayload } from "../read-payload.ts";

/** `event publish`. */
export function eventCommands(program: Command, context: CliContext): void {
  const event = program.command("event").description("tell plugins what has happened");

  event
    .command("publish")
    .description("store an event; plugins whose patterns match hear of it")
    .argument("<name>", "parts with dots, such as order.paid; the first is not audit, job, plugin or user")
    .argument("[data]", "JSON or text, - for standard input, @file for a file")
    .option("--id <id>", "the same id again, within minutes, is not stored again")
    .addHelpText("after", `\nExample:\n  millrace event publish order.paid '{"order":7}'`)
    .action(async (name: string, argument: string | undefined, { id = "" }: { id?: string }, command: Command) => {
      const data = await readPayload(argument, context.stdin);
      if (data instanceof Uint8Array) throw new MillraceError("invalid_argument", "an event's data is JSON or text");
      await withSession(context, command, async ({ client, output }) => {
        const value = data === undefined ? undefined : fromJson(ValueSchema, data as JsonValue);
        const request = { name, id, ...(value === undefined ? {} : { data: value }) };
        const response = await client.events.publishEvent(request, { signal: context.signal });
        output.message(PublishEventResponseSchema, response, () => response.id);
      });
    });
}
