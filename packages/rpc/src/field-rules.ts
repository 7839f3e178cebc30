import { getExtension, hasExtension, type DescField } from "@bufbuild/protobuf";
import * as rules from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** The rules that one field carries. */
export function fieldRules(field: DescField): rules.FieldRules | undefined {
  const options = field.proto.options;
  if (options === undefined || !hasExtension(options, rules.field)) return undefined;
  return getExtension(options, rules.field);
}
