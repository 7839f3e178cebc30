import {
  create,
  createFileRegistry,
  createRegistry,
  fromBinary,
  toBinary,
  type DescFile,
  type DescService,
  type FileRegistry,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponseSchema,
} from "@millrace/protocol";
import { bindService, type ServiceBinding } from "./pipeline.ts";

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

/**
 * gRPC server reflection, v1 and the older v1alpha that many tools still ask for, over the given services and itself
 * (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md).
 */
export function reflectionServices(services: readonly DescService[]): ServiceBinding[] {
  const alpha = alphaService();
  const all = [...services, ServerReflection, alpha];
  const impl = implementation(all);
  return [bindService(ServerReflection, impl), [alpha, impl as unknown as ServiceBinding[1]]];
}

function implementation(services: readonly DescService[]): ServiceImpl<typeof ServerReflection> {
  const files = new Map<string, DescFile>();
  for (const service of services) collectFiles(service.file, files);
  const registry = createRegistry(...files.values());

  function answer(request: ServerReflectionRequest): Answer {
    const { messageRequest } = request;
    switch (messageRequest.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: {
            service: services.map((service) => ({ name: service.typeName })).sort((a, b) => (a.name < b.name ? -1 : 1)),
          },
        };
      case "fileByFilename":
        return fileAnswer(files.get(messageRequest.value));
      case "fileContainingSymbol":
        return fileAnswer(fileOfSymbol(registry, services, messageRequest.value));
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = messageRequest.value;
        return fileAnswer(
          registry.getExtensionFor(registry.getMessage(containingType) ?? noMessage(), extensionNumber)?.file,
        );
      }
      case "allExtensionNumbersOfType": {
        const numbers = [...registry].filter(
          (type) => type.kind === "extension" && type.extendee.typeName === messageRequest.value,
        );
        return {
          case: "allExtensionNumbersResponse",
          value: {
            baseTypeName: messageRequest.value,
            extensionNumber: numbers.map((type) => (type.kind === "extension" ? type.number : 0)),
          },
        };
      }
      default:
        return failure(Code.InvalidArgument, "no request");
    }
  }

  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        let messageResponse: Answer;
        try {
          messageResponse = answer(request);
        } catch (reason) {
          messageResponse = failure(Code.NotFound, ConnectError.from(reason).rawMessage);
        }
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  };
}

function noMessage(): never {
  throw new ConnectError("unknown type", Code.NotFound);
}

function failure(code: Code, message: string): Answer {
  return { case: "errorResponse", value: { errorCode: code, errorMessage: message } };
}

function fileAnswer(file: DescFile | undefined): Answer {
  if (file === undefined) return failure(Code.NotFound, "not found");
  const needed = new Map<string, DescFile>();
  collectFiles(file, needed);
  // The file asked for comes first, then what it imports.
  const bytes = [...needed.values()].map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: bytes } };
}

function collectFiles(file: DescFile, into: Map<string, DescFile>): void {
  if (into.has(file.proto.name)) return;
  into.set(file.proto.name, file);
  for (const dependency of file.dependencies) collectFiles(dependency, into);
}

function fileOfSymbol(
  registry: ReturnType<typeof createRegistry>,
  services: readonly DescService[],
  symbol: string,
): DescFile | undefined {
  const type = registry.get(symbol);
  if (type !== undefined) return type.file;
  for (const service of services) {
    if (service.methods.some((method) => `${service.typeName}.${method.name}` === symbol)) return service.file;
  }
  // A field or an enum value lives in its type's file.
  const owner = registry.get(symbol.slice(0, symbol.lastIndexOf(".")));
  if (owner !== undefined) return owner.file;
  // Enum values are siblings of their enum.
  for (const one of registry) {
    if (
      one.kind === "enum" &&
      one.values.some((value) => `${one.typeName.slice(0, one.typeName.lastIndexOf("."))}.${value.name}` === symbol)
    ) {
      return one.file;
    }
  }
  return undefined;
}

// v1alpha is v1 under another package name, message by message.
function alphaService(): DescService {
  const file = ServerReflection.file;
  const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file.proto));
  const rename = (name: string) => name.replace("grpc.reflection.v1.", "grpc.reflection.v1alpha.");
  proto.name = proto.name.replace("/v1/", "/v1alpha/");
  proto.package = "grpc.reflection.v1alpha";
  for (const message of proto.messageType) for (const field of message.field) field.typeName = rename(field.typeName);
  for (const service of proto.service) {
    for (const method of service.method) {
      method.inputType = rename(method.inputType);
      method.outputType = rename(method.outputType);
    }
  }
  const registry: FileRegistry = createFileRegistry(create(FileDescriptorSetSchema, { file: [proto] }));
  const service = registry.getService("grpc.reflection.v1alpha.ServerReflection");
  if (service === undefined) throw new Error("v1alpha reflection could not be built");
  return service;
}
