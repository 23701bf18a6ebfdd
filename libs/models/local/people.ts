import { z } from 'zod';
import type { ModelFile } from '../port.ts';
import type { Document } from './text.ts';

const MAX_NAMES = 200;

const optionalText = z.union([z.string(), z.number()]).optional().catch(undefined);

/** The parts of account notes that a summary uses; what is otherwise typed is ignored. */
const accountNotes = z.object({
  account: z.object({ name: optionalText, health: optionalText }).optional().catch(undefined),
  contacts: z.array(z.object({ name: z.string() }).catch({ name: '' })).catch([]),
  contract: z
    .object({ ends: optionalText, annual_value_eur: optionalText, annual_value_usd: optionalText })
    .optional()
    .catch(undefined),
  open_tickets: z.array(z.object({ id: z.string(), title: optionalText })).catch([]),
});
export type AccountNotes = z.output<typeof accountNotes>;

/** Reads account notes from the first JSON file that has an `account`; undefined without one. */
export function readAccount(files: readonly ModelFile[]): AccountNotes | undefined {
  for (const { path, text } of files) {
    if (!path.endsWith('.json')) continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      // A file that only claims to be JSON has no notes for us.
      continue;
    }
    const notes = accountNotes.safeParse(value);
    if (notes.success && notes.data.account !== undefined) return notes.data;
  }
  return undefined;
}

/** Who is known by name: speakers, participants of the preamble, contacts of the account. */
export class People {
  readonly names: readonly string[];
  readonly #full = new Map<string, string>();

  constructor(documents: readonly Document[], account: AccountNotes | undefined) {
    const speakers = documents.flatMap(({ sentences }) =>
      sentences.flatMap((s) => s.speaker ?? []),
    );
    const listed = documents.flatMap(({ preamble }) => preamble.flatMap(participant));
    const contacts = account?.contacts.map(({ name }) => name) ?? [];
    const all = new Set([...speakers, ...listed, ...contacts].filter((name) => name !== ''));
    this.names = [...all].slice(0, MAX_NAMES);
    for (const name of this.names) this.#full.set(name, name);
    for (const name of this.names) {
      const first = name.split(' ')[0] ?? name;
      // A first name that two people share means neither of them.
      if (first !== name) this.#full.set(first, this.#full.has(first) ? '' : name);
    }
  }

  /** The full name for a full or first name. */
  find(name: string): string | undefined {
    return this.#full.get(name) || undefined;
  }
}

function participant(line: string): string[] {
  const match = /^[-*]\s+(\p{Lu}[\p{L}.'’-]*(?: [\p{Lu}][\p{L}.'’-]*){0,3})\s*(?:[(,–-]|$)/u.exec(
    line.slice(0, 200),
  );
  return match?.[1] === undefined ? [] : [match[1]];
}

/** The day of a call, ISO, from its preamble or title. */
export function callDate(document: Document): string | undefined {
  const head = [document.title ?? '', ...document.preamble].slice(0, 30).join('\n');
  const day = /\b(\d{4}-\d{2}-\d{2})\b/.exec(head)?.[1];
  return day !== undefined && Number.isFinite(Date.parse(day)) ? day : undefined;
}

/** Whom a call was with, where its preamble says so. */
export function callAccount(document: Document): string | undefined {
  for (const line of document.preamble.slice(0, 30)) {
    const name = /^[*\s]*(?:account|customer|client)[*\s]*:[*\s]*(\S.{0,80})$/i.exec(line)?.[1];
    if (name !== undefined) return name.trim();
  }
  return undefined;
}
