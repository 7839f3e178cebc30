import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  ListPluginKeysResponseSchema,
  RevokePluginKeyResponseSchema,
  TrustPluginKeyResponseSchema,
  type PluginKey,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatTime } from "../../format-job.ts";
import type { Column } from "../../format-table.ts";
import { table } from "../../output.ts";
import { instant } from "../../parse-options.ts";
import { readPublicKey } from "../../signing/signing-key.ts";

interface TrustOptions {
  readonly owner?: string;
  readonly notAfter?: Date;
}

/** `plugin keys list|trust|revoke`. */
export function keyCommands(plugin: Command, context: CliContext): void {
  const keys = plugin.command("keys").description("say whose signatures are trusted");

  keys
    .command("list")
    .description("list the keys that are trusted, or were")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.listPluginKeys({}, { signal: context.signal });
        output.message(ListPluginKeysResponseSchema, response, () => table(response.keys, keyColumns, "no keys"));
      });
    });

  keys
    .command("trust")
    .description("trust a key: plugins that it signed may be installed")
    .argument("<file>", "the public key, as `plugin keygen` wrote it")
    .option("--owner <name>", "whose it is")
    .option("--not-after <time>", "refuse its signatures afterwards: RFC 3339, or +90d", instant)
    .addHelpText("after", "\nExample:\n  millrace plugin keys trust ada.pem.pub --owner Ada --not-after +365d")
    .action(async (path: string, { owner = "", notAfter }: TrustOptions, command: Command) => {
      const publicKey = await readPublicKey(path);
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.trustPluginKey(
          { publicKey, owner, ...(notAfter === undefined ? {} : { notAfter: timestampFromDate(notAfter) }) },
          { signal: context.signal },
        );
        output.message(TrustPluginKeyResponseSchema, response, () => `key ${response.key?.keyId ?? ""} is trusted`);
      });
    });

  keys
    .command("revoke")
    .description("what the key signed does not load any more, on any worker")
    .argument("<key-id>")
    .option("--reason <text>", "why")
    .action(async (keyId: string, { reason = "" }: { reason?: string }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.plugins.revokePluginKey({ keyId, reason }, { signal: context.signal });
        output.message(RevokePluginKeyResponseSchema, response, () => `key ${keyId} is revoked`);
      });
    });
}

const keyColumns: readonly Column<PluginKey>[] = [
  { head: "key id", cell: ({ keyId }) => keyId },
  { head: "owner", cell: ({ owner }) => owner },
  { head: "trusted", cell: ({ trustedAt }) => formatTime(trustedAt) },
  { head: "not after", cell: ({ notAfter }) => formatTime(notAfter) },
  { head: "revoked", cell: ({ revokedAt }) => formatTime(revokedAt) },
  { head: "why", cell: ({ revokedReason }) => revokedReason },
];
