import type { DescField, Message } from "@bufbuild/protobuf";

/** The messages that a field of a message holds, each with its place. */
export function* messagesOf(message: Message, field: DescField): Iterable<[name: string, message: Message]> {
  const fields = message as unknown as Readonly<Record<string, unknown>>;
  if (field.oneof !== undefined) {
    const chosen = fields[field.oneof.localName] as { case?: string; value?: Message };
    if (chosen.case === field.localName && chosen.value !== undefined) yield [field.name, chosen.value];
    return;
  }
  const value = fields[field.localName];
  if (value === undefined) return;
  if (field.fieldKind === "list") {
    for (const [index, one] of (value as Message[]).entries()) yield [`${field.name}[${index}]`, one];
  } else if (field.fieldKind === "map") {
    for (const one of Object.values(value as Record<string, Message>)) yield [field.name, one];
  } else yield [field.name, value as Message];
}
