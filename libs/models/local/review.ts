import type { ModelFile, ModelRequest } from '../port.ts';
import { checkStatements, report } from './verify.ts';

/**
 * Reviews the files under `result/` against the others, which say what was asked for. Approved is
 * what states something, and nothing that they do not support.
 */
export function review({ files }: Pick<ModelRequest, 'files'>): string {
  const isResult = ({ path }: ModelFile): boolean => path.split('/').includes('result');
  const isMessage = ({ path }: ModelFile): boolean => path.split('/').at(-1) === 'message.md';
  const asked = files.filter((file) => !isResult(file));
  const material = asked.filter((file) => !isMessage(file));
  const sources = material.length > 0 ? material : asked;
  const judged = files.filter(isResult).map((file) => ({
    path: file.path,
    checks: checkStatements(file, sources),
  }));
  const all = judged.flatMap(({ checks }) => checks);
  const isApproved = all.length > 0 && all.every(({ supported }) => supported);
  const reasons =
    all.length === 0
      ? ['The result states nothing.']
      : judged.map(({ path, checks }) => report(path, checks));
  const verdict = isApproved ? 'approved' : 'changes_requested';
  return `VERDICT: ${verdict}\n\n${reasons.join('\n\n')}\n`;
}
