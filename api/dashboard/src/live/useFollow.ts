// Following jobs for as long as a component is there.
import { useEffect, useRef } from "preact/hooks";
import { follow, type Told } from "./line";

/** Hear these jobs, each from after its number on. `hear` may be another function each time it is drawn. */
export function useFollow(jobs: readonly { id: string; last_seq: number }[], hear: (told: Told[]) => void): void {
  const hearing = useRef(hear);
  hearing.current = hear;
  const key = jobs.map((job) => job.id).join();
  useEffect(() => {
    const ends = jobs.map((job) => follow(job.id, job.last_seq, (told) => hearing.current(told)));
    return () => ends.forEach((end) => end());
  }, [key]); // not their numbers: the line itself knows how far each has come
}
