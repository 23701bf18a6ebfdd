import { AppError } from '#libs/contracts';
import type { ModelOutput } from './port.ts';

const MAX_TITLE_CHARS = 300;

type Heading = { level: number; title: string; line: number };

/**
 * Cuts an answer into its outputs: one without `section` gets the whole text, one with a section
 * the part from that heading to the next heading of the same or a higher level.
 *
 * Tolerates another heading level, bold instead of `#`, letter case and a trailing colon, as models
 * vary in these. A horizontal rule at the end of a part is left out.
 *
 * @throws {MODEL_ERROR} a section is missing or empty; `details.stage` is `writing_artifacts`
 */
export function splitSections(text: string, outputs: readonly ModelOutput[]): Map<string, string> {
  const lines = unwrapped(text).split(/\r?\n/);
  const headings = findHeadings(lines);
  const wanted = new Set(outputs.flatMap(({ section }) => (section ? [titleOf(section)] : [])));
  const result = new Map<string, string>();
  for (const { path, section } of outputs) {
    result.set(path, section === undefined ? text : cut(lines, headings, section, wanted));
  }
  return result;
}

function cut(
  lines: readonly string[],
  headings: readonly Heading[],
  section: string,
  wanted: ReadonlySet<string>,
): string {
  const title = titleOf(section);
  const level = /^#+/.exec(section.trim())?.[0].length;
  const matches = headings.filter((heading) => heading.title === title);
  const start = matches.find((heading) => heading.level === level) ?? matches[0];
  if (start === undefined) throw missing(section, 'is missing');
  const end = headings.find(
    (heading) =>
      heading.line > start.line && (heading.level <= start.level || wanted.has(heading.title)),
  );
  const body = lines.slice(start.line + 1, end?.line);
  while (body.length > 0 && /^\s*([-*_]\s*){3,}$|^\s*$/.test(body.at(-1) ?? '')) body.pop();
  if (body.every((line) => line.trim() === '')) throw missing(section, 'is empty');
  return `${[lines[start.line], ...body].join('\n')}\n`;
}

/** Headings outside code fences: `# Title`, or a title in bold, which counts as level 6. */
function findHeadings(lines: readonly string[]): Heading[] {
  const found: Heading[] = [];
  let fenced = false;
  for (const [line, text] of lines.entries()) {
    if (/^\s*(```|~~~)/.test(text)) fenced = !fenced;
    if (fenced) continue;
    const marked = /^\s{0,3}(#{1,6})\s+(.+)$/.exec(text);
    const bold = /^\s*\*\*([^*]{1,200})\*\*:?\s*$/.exec(text);
    if (marked) found.push({ level: marked[1]!.length, title: titleOf(marked[2]!), line });
    else if (bold) found.push({ level: 6, title: titleOf(bold[1]!), line });
  }
  return found;
}

/** Models at times put their whole answer into one code fence. */
function unwrapped(text: string): string {
  return /^\s*```(?:markdown|md)?[ \t]*\r?\n([\s\S]*)\n```\s*$/i.exec(text)?.[1] ?? text;
}

function titleOf(heading: string): string {
  return heading
    .slice(0, MAX_TITLE_CHARS)
    .replace(/^[\s#*_]+|[\s#*_:]+$/g, '')
    .replace(/\s+/g, ' ')
    .toLowerCase();
}

function missing(section: string, problem: string): AppError {
  return new AppError(
    'MODEL_ERROR',
    { reason: `the section "${section}" ${problem}` },
    { details: { stage: 'writing_artifacts', retryable: true, section } },
  );
}
