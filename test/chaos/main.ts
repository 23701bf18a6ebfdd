import { FLEETS } from './fleet.ts';
import { type ChaosOptions, HELP, readOptions, UsageError } from './options.ts';
import { formatReport } from './report.ts';
import { formatPlan, planChaos } from './schedule.ts';
import { soak } from './soak.ts';

async function main(argv: readonly string[]): Promise<number> {
  let options: ChaosOptions | 'help';
  try {
    options = readOptions(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
  if (options === 'help') {
    console.log(HELP);
    return 0;
  }
  const { seed, minutes, chatsPerMinute, sync, keep } = options;
  const plan = planChaos({ seed, minutes, chatsPerMinute, fleet: FLEETS[options.fleet] });
  if (options.plan) {
    console.log(formatPlan(plan));
    return 0;
  }
  const settleMs = options.settleSeconds * 1_000;
  const say = (line: string): void => console.error(`chaos ${seed}: ${line}`);
  const soaked = await soak({ plan, sync, settleMs, keep, say });
  const { summary, violations } = soaked;
  const report = formatReport(soaked);
  if (options.json) {
    console.log(JSON.stringify({ ...summary, violated: violations }, null, 2));
    if (violations.length > 0) console.error(report);
  } else console.log(report);
  return violations.length === 0 ? 0 : 1;
}

process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
process.exitCode = await main(process.argv.slice(2));
