import { ERRORS } from '#libs/contracts';

const START = '<!-- errors:start -->';
const END = '<!-- errors:end -->';

/** The given Markdown with its section of error codes rewritten from the catalogue. */
export function withErrorTable(markdown: string): string {
  const start = markdown.indexOf(START);
  const end = markdown.indexOf(END);
  if (start < 0 || end < start) throw new Error(`there is no ${START} … ${END} section`);
  return `${markdown.slice(0, start + START.length)}\n${errorTable()}${markdown.slice(end)}`;
}

function errorTable(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, retry, message, fix }]) =>
    [`\`${code}\``, status, retry, cell(message), cell(fix)].join(' | '),
  );
  const head = ['| code | status | retry | message | what to do |', '|---|---|---|---|---|'];
  return `${[...head, ...rows.map((row) => `| ${row} |`)].join('\n')}\n`;
}

/** A bar would end the cell, and an angle bracket would start HTML. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}
