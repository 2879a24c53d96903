import { useQuery } from "../../router";
import { t } from "../../texts";
import { Link } from "../../ui/Link";
import { Page } from "../../ui/Page";
import { Health } from "./Health";
import { Keys } from "./Keys";
import "./settings.css";
import { Webhooks } from "./Webhooks";

const PARTS = { keys: Keys, webhooks: Webhooks, service: Health } as const;
type Part = keyof typeof PARTS;

/** Keys, webhooks, and how the service is. */
export default function Settings() {
  const [asked] = useQuery("part", "keys");
  const part: Part = Object.hasOwn(PARTS, asked) ? (asked as Part) : "keys";
  const Shown = PARTS[part];
  return (
    <Page title={t.settings.title}>
      <nav class="settings-parts" aria-label={t.settings.parts}>
        {(Object.keys(PARTS) as Part[]).map((one) => (
          <Link key={one} to={`/settings?part=${one}`} {...(one === part ? { "aria-current": "page" as const } : {})}>{t.settings[one].title}</Link>
        ))}
      </nav>
      <Shown />
    </Page>
  );
}
