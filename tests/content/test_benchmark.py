"""The Tidewaiter image benchmark, evaluated by the inspector's OpenSCAP."""
import json
import pathlib
import subprocess
import sys
import tarfile
import tomllib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import inspection
import trees

ROOTFS = inspection.PROJECT / "tests/images/rootfs"


def run(tree):
    """(rule → result, the ARF's text) of the benchmark on a file system of trees.py."""
    with inspection.work_directory() as work:
        owners = trees.build(work, tree)
        inspection.write_facts(work)
        inspection.write_state(work, owners)
        return inspection.benchmark(work), (pathlib.Path(work) / "arf.xml").read_text()


def run_archive(name):
    with inspection.work_directory() as work:
        (pathlib.Path(work) / "root").mkdir()
        with tarfile.open(ROOTFS / name) as archive:
            archive.extractall(pathlib.Path(work) / "root", members=[m for m in archive if m.isreg() or m.isdir() or m.issym()])
        (pathlib.Path(work) / "config.json").write_text(json.dumps(trees.config("10001", [], [], [], [])))
        inspection.write_facts(work)
        inspection.write_state(work)
        return inspection.benchmark(work)


def with_result(results, *wanted):
    return sorted(rule for rule, result in results.items() if result in wanted)


class TheBenchmark(unittest.TestCase):
    maxDiff = None

    def test_is_what_its_sources_make(self):
        made = subprocess.run([inspection.PROJECT / "scripts/benchmark", "--stdout"], check=True, capture_output=True).stdout
        self.assertEqual(made, inspection.BENCHMARK.read_bytes(), "run scripts/benchmark and commit what it writes")

    def test_is_a_valid_data_stream(self):
        subprocess.run(["oscap", "ds", "sds-validate", inspection.BENCHMARK], check=True)

    def test_passes_in_whole_on_a_good_image(self):
        results, _ = run(trees.good())
        self.assertGreaterEqual(len(results), 110)
        self.assertEqual({rule: result for rule, result in results.items() if result != "pass"}, {})

    def test_every_rule_fails_on_an_image_with_its_fault_and_no_secret_gets_into_the_report(self):
        wrong, arf = run(trees.everything_wrong())
        root, _ = run(trees.root_user())
        self.assertEqual(with_result(wrong, "error", "unknown", "notchecked"), [])
        self.assertEqual(with_result(root, "fail"), ["image_not_root"])
        failed = set(with_result(wrong, "fail")) | set(with_result(root, "fail"))
        self.assertEqual(sorted(set(wrong) - failed), [])
        self.assertNotIn("SECRETVALUE", arf)

    def test_finds_the_other_ways_in_which_a_rule_can_fail_and_nothing_beside_them(self):
        results, arf = run(trees.wrong_in_other_ways())
        self.assertEqual(with_result(results, "fail", "error", "unknown", "notchecked"), sorted(trees.OTHER_WAYS))
        self.assertNotIn("SECRETVALUE", arf)

    def test_passes_no_rule_about_files_anywhere_when_there_are_more_of_them_than_openscap_takes(self):
        looking = {f"{source['group']['id']}_{rule['id']}" for path in inspection.BENCHMARK.parent.glob("*.toml")
                   for source in [tomllib.loads(path.read_text())] for rule in source["rule"] if any("found" in check for check in rule["check"])}
        self.assertEqual(len(looking), 3)
        results, _ = run(trees.good() | {f"/var/cache/{number}.rpm": trees.file() for number in range(1100)})
        self.assertEqual(looking & set(with_result(results, "pass")), set())
        self.assertEqual(results["packages_package_archives"], "fail")
        self.assertEqual(results["accounts_only_root_uid_0"], "pass")

    def test_judges_secrets_in_files_however_many_there_are(self):
        results, _ = run(trees.good() | {f"/decoys/{number}.p12": trees.file() for number in range(1100)} | {"/zzz/.ssh/id_rsa": trees.file(trees.KEY)})
        self.assertEqual(with_result(results, "fail"), ["secrets_password_stores", "secrets_ssh_private_keys"])

    def test_has_a_fact_for_each_rule_that_asks_for_one_and_none_passes_without(self):
        asking = {f"{source['group']['id']}_{rule['id']}" for path in inspection.BENCHMARK.parent.glob("*.toml")
                  for source in [tomllib.loads(path.read_text())] for rule in source["rule"] if any(check.get("fact") for check in rule["check"])}
        with inspection.work_directory() as work:
            owners = trees.build(work, trees.good())
            inspection.write_facts(work)
            facts = pathlib.Path(work) / "root/run/tidewaiter/facts"
            self.assertEqual({path.name for path in facts.iterdir()}, asking)
            (facts / "secrets_netrc").write_text("not checked: /root/.netrc beyond its first MiB\n")
            (facts / "image_not_root").unlink()
            inspection.write_state(work, owners)
            results = inspection.benchmark(work)
        self.assertEqual(with_result(results, "unknown"), ["image_not_root", "secrets_netrc"])
        self.assertEqual(with_result(results, "fail", "error", "notchecked"), [])

    def test_judges_nothing_in_an_empty_image(self):
        results, _ = run({"/": trees.directory()})
        self.assertEqual(with_result(results, "fail", "error", "unknown"), [])
        self.assertIn("accounts_no_empty_password", with_result(results, "notapplicable"))

    def test_finds_the_faults_of_the_bad_sample_and_none_of_them_in_the_small_one(self):
        bad, tiny = run_archive("deb12-bad.tar.gz"), run_archive("deb12-tiny.tar.gz")
        for rule in ("accounts_no_empty_password", "accounts_only_root_uid_0", "files_passwd_mode", "files_shadow_mode"):
            self.assertEqual((bad[rule], tiny[rule]), ("fail", "pass"), rule)
        self.assertEqual(with_result(bad, "error", "unknown") + with_result(tiny, "error", "unknown"), [])


if __name__ == "__main__":
    unittest.main()
