import { ENDPOINTS, ERRORS } from '#libs/contracts';
import { transitionsMarkdown, transitionsMermaid } from '#libs/orders';
import { CONFIG } from '#libs/runtime';
import { subjectOf } from '#libs/service';

/** The parts of README.md that code knows better, by the name in their markers. */
const SECTIONS: Readonly<Record<string, () => string>> = {
  endpoints: endpointTable,
  errors: errorTable,
  settings: settingTable,
  states: () =>
    `\`\`\`mermaid\n${transitionsMermaid('Order').trim()}\n\`\`\`\n\n${transitionsMarkdown().trim()}\n`,
};

/** The given Markdown with every `<!-- name:start -->` … `<!-- name:end -->` part made anew. */
export function withSections(markdown: string): string {
  return Object.entries(SECTIONS).reduce((text, [name, make]) => {
    const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
    const from = text.indexOf(start);
    const to = text.indexOf(end);
    if (from < 0 || to < from) throw new Error(`there is no ${start} … ${end} section`);
    return `${text.slice(0, from + start.length)}\n${make()}${text.slice(to)}`;
  }, markdown);
}

function errorTable(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, retry, message, fix }]) => [
    `\`${code}\``,
    status,
    retry,
    message,
    fix,
  ]);
  return table(['code', 'status', 'retry', 'message', 'what to do'], rows);
}

function settingTable(): string {
  const rows = Object.entries(CONFIG.shape).map(([name, schema]) => {
    const { value } = CONFIG.shape[name as keyof typeof CONFIG.shape]['~standard'].validate(
      undefined,
    ) as { value: unknown };
    const standard = shown(value);
    return [`\`${name}\``, standard === '' ? '' : `\`${standard}\``, schema.description ?? ''];
  });
  return table(['variable', 'default', 'meaning'], rows);
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function endpointTable(): string {
  const rows = ENDPOINTS.filter(({ name }) => name !== 'health').map((endpoint) => {
    const { role, method, path, summary, live, outside } = endpoint;
    const subject = live === undefined ? `\`${subjectOf(endpoint)}\`` : '';
    const place = outside === undefined ? '' : ' at the root';
    return [role, `\`${method} ${path}\`${place}`, subject, summary];
  });
  return table(['role', 'HTTP', 'NATS request', 'what it does'], rows);
}

function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (cells: readonly unknown[]): string =>
    `| ${cells.map((one) => cell(String(one))).join(' | ')} |`;
  return `${[line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')}\n`;
}

/** A bar would end the cell, and an angle bracket would start HTML. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<');
}
