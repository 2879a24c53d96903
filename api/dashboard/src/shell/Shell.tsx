// What stands around every screen: navigation, project, appearance, and whether the line is alive.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Session } from "../api/types";
import { lineState } from "../live/line";
import mark from "../mark.svg";
import { go, usePlace } from "../router";
import { NAVIGATION } from "../screens";
import { useStore } from "../store";
import { t } from "../texts";
import { Button } from "../ui/Button";
import { Icon, type IconName } from "../ui/Icon";
import { Link } from "../ui/Link";
import { toastProblem } from "../ui/toast";
import { ProjectSwitch } from "./ProjectSwitch";
import { signOut } from "./session";
import { ShortcutHelp } from "./ShortcutHelp";
import { useShortcut } from "./shortcuts";
import { theme } from "./theme";

export function Shell({ who, children }: { who: Session; children: ComponentChildren }) {
  const { path } = usePlace();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path]);
  return (
    <div class="shell">
      <a class="skip" href="#content" onClick={(event) => { event.preventDefault(); document.getElementById("content")?.focus(); }}>{t.skip}</a>
      <header class="bar">
        <Link to="/runs" class="brand"><img src={mark} alt="" width="24" height="24" /><span>{t.product}</span></Link>
        <ProjectSwitch who={who} />
        <LineLight />
        <span class="spring" />
        <ThemeSwitch />
        <ShortcutHelp />
        <Button kind="quiet" label={t.signIn.out} title={t.signIn.as(who.key.name, who.scopes.join(", "))}
          onClick={() => void signOut().catch(toastProblem)}><Icon name="leave" /></Button>
        <Button kind="quiet" class="menu" label={t.menu} expanded={open} onClick={() => setOpen(!open)}><Icon name="menu" /></Button>
      </header>
      <nav class={open ? "open" : ""} aria-label={t.nav.label}>
        {NAVIGATION.map((one) => <Entry key={one.to} to={one.to} label={one.label} icon={one.icon} here={path} />)}
        <ThemeSwitch />
      </nav>
      <main id="content" tabIndex={-1}>{children}</main>
    </div>
  );
}

function Entry({ to, label, icon, here }: { to: string; label: string; icon: IconName; here: string }) {
  const current = here === to || here.startsWith(`${to}/`);
  return (
    <Link to={to} {...(current ? { "aria-current": "page" as const } : {})}>
      <Icon name={icon} /><span>{label}</span>
    </Link>
  );
}

/** The keys that lead to the screens; apart, for a list of hooks must not change its length. */
export function NavigationKeys() {
  return <>{NAVIGATION.map((one) => <NavigationKey key={one.to} to={one.to} label={one.label} letter={one.key} />)}</>;
}

function NavigationKey({ to, label, letter }: { to: string; label: string; letter: string }) {
  useShortcut(`g ${letter}`, t.shortcuts.goTo(label), () => go(to));
  return null;
}

function LineLight() {
  const state = useStore(lineState);
  return <span class={`line-light ${state}`} role="status">{state === "off" ? "" : t.live[state]}</span>;
}

function ThemeSwitch() {
  const chosen = useStore(theme);
  return (
    <select class="theme" aria-label={t.theme.label} value={chosen} onChange={(event) => theme.set(event.currentTarget.value)}>
      <option value="system">{t.theme.system}</option>
      <option value="light">{t.theme.light}</option>
      <option value="dark">{t.theme.dark}</option>
    </select>
  );
}
