import { ByteReader } from "./byte-reader.ts";
import type { StructuralBounds } from "./meter-limits.ts";
import { ModuleRefused } from "./module-refused.ts";
import {
  kinds,
  sectionId,
  sectionOrder,
  type ExportEntry,
  type Feature,
  type FunctionType,
  type GlobalShape,
  type ImportEntry,
  type MemoryShape,
  type ModuleShape,
  type Span,
  type TableShape,
} from "./module-shape.ts";
import { valueType } from "./opcodes.ts";
import { readData, readElements, skipConstant, type Referred } from "./read-segments.ts";
import { readGlobalType, readMemoryType, readTableType, readValueType } from "./read-types.ts";
import { reservedPrefix } from "./reserved-names.ts";

const HEADER_BYTES = 8;

/** Reads all but the code of a module that the engine has validated. @throws ModuleRefused */
export function readModule(bytes: Uint8Array<ArrayBuffer>, bounds: StructuralBounds): ModuleShape {
  return new ModuleReader(bytes, bounds).read();
}

class ModuleReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #bounds: StructuralBounds;
  readonly #sections = new Map<number, Span>();
  readonly #customSections: (Span & { readonly name: string; readonly at: number })[] = [];
  readonly #types: FunctionType[] = [];
  readonly #imports: ImportEntry[] = [];
  readonly #functionTypes: number[] = [];
  readonly #tables: TableShape[] = [];
  readonly #globals: GlobalShape[] = [];
  readonly #exports: ExportEntry[] = [];
  readonly #features = new Set<Feature>();
  #memory: MemoryShape | undefined;
  #tags = 0;
  #importedFunctions = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>, bounds: StructuralBounds) {
    this.#bytes = bytes;
    this.#bounds = bounds;
  }

  read(): ModuleShape {
    this.#findSections();
    this.#each(sectionId.type, this.#bounds.types, "types", (reader) => this.#readType(reader));
    this.#each(sectionId.import, this.#bounds.imports, "imports", (reader) => this.#readImport(reader));
    this.#importedFunctions = this.#functionTypes.length;
    this.#each(sectionId.function, this.#bounds.functions - this.#importedFunctions, "functions", (reader) => {
      this.#readFunction(reader);
    });
    this.#each(sectionId.table, this.#bounds.tables, "tables", (reader) => {
      this.#tables.push(readTableType(reader, false));
      this.#markReferences();
    });
    this.#each(sectionId.memory, Infinity, "memories", (reader) => {
      if (this.#memory) throw reader.unsupported(reader.at, "a second memory");
      this.#memory = readMemoryType(reader, false);
    });
    this.#each(sectionId.tag, this.#bounds.tags, "tags", (reader) => this.#readTag(reader));
    const referred: Referred = { taken: new Uint8Array(this.#functionTypes.length), features: this.#features };
    this.#each(sectionId.global, this.#bounds.globals, "globals", (reader) => {
      this.#globals.push(readGlobalType(reader, false));
      skipConstant(reader, referred);
    });
    this.#each(sectionId.export, this.#bounds.exports, "exports", (reader) => this.#readExport(reader, referred));
    this.#each(sectionId.element, this.#bounds.elementSegments, "segments", (reader) => {
      readElements(reader, referred, this.#bounds.segmentEntries);
    });
    this.#each(sectionId.data, this.#bounds.dataSegments, "segments", (reader) => readData(reader, referred));
    return {
      bytes: this.#bytes,
      sections: this.#sections,
      customSections: this.#customSections,
      types: this.#types,
      imports: this.#imports,
      functionTypes: this.#functionTypes,
      importedFunctions: this.#importedFunctions,
      tables: this.#tables,
      memory: this.#memory,
      globals: this.#globals,
      exports: this.#exports,
      start: this.#readStart(),
      addressTaken: referred.taken,
      features: this.#features,
    };
  }

  #findSections(): void {
    const reader = new ByteReader(this.#bytes, "module", HEADER_BYTES, this.#bytes.length);
    while (!reader.done) {
      const at = reader.at;
      const id = reader.byte();
      const size = reader.u32();
      const span = { start: reader.at, end: reader.at + size };
      reader.skip(size);
      if (id === sectionId.custom) {
        const name = new ByteReader(this.#bytes, "custom", span.start, span.end).name();
        if (this.#customSections.push({ ...span, at, name }) > this.#bounds.customSections) {
          const reason = `more than ${this.#bounds.customSections} custom sections`;
          throw new ModuleRefused("TOO_LARGE", "module", at, reason);
        }
      } else if (sectionOrder.some((known) => known.id === id)) {
        this.#sections.set(id, span);
      } else {
        throw new ModuleRefused("UNSUPPORTED", "module", at, `a section with id ${id} is not supported`);
      }
    }
  }

  #reader(id: number): ByteReader | undefined {
    const span = this.#sections.get(id);
    const name = sectionOrder.find((known) => known.id === id)?.name ?? "module";
    return span && new ByteReader(this.#bytes, name, span.start, span.end);
  }

  #each(id: number, bound: number, what: string, read: (reader: ByteReader) => void): void {
    const reader = this.#reader(id);
    if (!reader) return;
    for (let left = reader.count(bound, what); left > 0; left--) read(reader);
  }

  #readType(reader: ByteReader): void {
    const at = reader.at;
    const form = reader.byte();
    if (form !== 0x60) throw reader.unsupported(at, "a type that is not a function (garbage collection)");
    const values = (): number[] => {
      const count = reader.count(this.#bounds.typeValues, "values in a function type");
      return Array.from({ length: count }, () => readValueType(reader));
    };
    const type = { params: values(), results: values() };
    if (type.results.length > 1) this.#features.add("multi-value");
    this.#types.push(type);
  }

  #readImport(reader: ByteReader): void {
    const at = reader.at;
    const module = reader.name();
    const name = reader.name();
    if (module.startsWith(reservedPrefix) || name.startsWith(reservedPrefix)) {
      throw new ModuleRefused("RESERVED_NAME", "import", at, `the import ${module} ${name} has a reserved name`);
    }
    const kindAt = reader.at;
    const kind = reader.byte();
    const start = reader.at;
    const index = this.#readImported(reader, kind, kindAt);
    this.#imports.push({ module, name, kind, index, description: { start, end: reader.at } });
  }

  /** Returns the index of what is imported, among those of its kind. */
  #readImported(reader: ByteReader, kind: number, at: number): number {
    switch (kind) {
      case kinds.function:
        return this.#readFunction(reader);
      case kinds.table:
        return this.#tables.push(readTableType(reader, true)) - 1;
      case kinds.memory:
        if (this.#memory) throw reader.unsupported(at, "a second memory");
        this.#memory = readMemoryType(reader, true);
        return 0;
      case kinds.global: {
        const global = readGlobalType(reader, true);
        if (global.mutable) this.#features.add("mutable-globals");
        return this.#globals.push(global) - 1;
      }
      case kinds.tag:
        return this.#readTag(reader);
      default:
        throw reader.unsupported(at, `an import of kind ${kind}`);
    }
  }

  /** Returns its index. */
  #readFunction(reader: ByteReader): number {
    const at = reader.at;
    const type = reader.u32();
    const { params = [], results = [] } = this.#types[type] ?? {};
    // What a frame may hold of exceptions is counted by its locals and blocks.
    if (params.includes(valueType.exnref) || results.includes(valueType.exnref))
      throw reader.unsupported(at, "a function that takes or returns exceptions");
    return this.#functionTypes.push(type) - 1;
  }

  #readTag(reader: ByteReader): number {
    const at = reader.at;
    reader.skip(1);
    const { params = [] } = this.#types[reader.u32()] ?? {};
    // Each could hold the one before: a chain on the engine's heap, where no limit counts it.
    if (params.includes(valueType.exnref)) throw reader.unsupported(at, "an exception that holds an exception");
    const { tagValues } = this.#bounds;
    if (params.length > tagValues) {
      const reason = `an exception with ${params.length} values; the bound is ${tagValues}`;
      throw new ModuleRefused("TOO_LARGE", reader.section, at, reason);
    }
    return this.#tags++;
  }

  #readExport(reader: ByteReader, referred: Referred): void {
    const at = reader.at;
    const name = reader.name();
    if (name.startsWith(reservedPrefix)) {
      throw new ModuleRefused("RESERVED_NAME", "export", at, `the export ${name} has a reserved name`);
    }
    const kind = reader.byte();
    const index = reader.u32();
    if (kind === kinds.function) referred.taken[index] = 1;
    if (kind === kinds.global && this.#globals[index]?.mutable) this.#features.add("mutable-globals");
    this.#exports.push({ name, kind, index });
  }

  #readStart(): number | undefined {
    return this.#reader(sectionId.start)?.u32();
  }

  #markReferences(): void {
    if (this.#tables.length > 1 || this.#tables.at(-1)?.type !== 0x70) this.#features.add("reference-types");
  }
}
