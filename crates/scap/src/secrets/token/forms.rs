//! The table of token forms: a prefix, and what follows it.

/// What may follow a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Letters and digits.
    Alnum,
    /// Capitals and digits.
    Upper,
    /// Small letters and digits.
    Lower,
    /// Hexadecimal digits.
    Hex,
    /// Letters, digits, `_` and `-`.
    Url,
    /// As [`Alphabet::Url`], and `.`.
    Dotted,
    /// As [`Alphabet::Dotted`], and `+`, `/`, `=`.
    Base64,
}

impl Alphabet {
    const fn has(self, c: u8) -> bool {
        match self {
            Self::Alnum => c.is_ascii_alphanumeric(),
            Self::Upper => c.is_ascii_uppercase() || c.is_ascii_digit(),
            Self::Lower => c.is_ascii_lowercase() || c.is_ascii_digit(),
            Self::Hex => c.is_ascii_hexdigit(),
            Self::Url => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'),
            Self::Dotted => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'),
            Self::Base64 => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'+' | b'/' | b'='),
        }
    }
}

/// One form of a token.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) what: &'static str,
    pub(super) prefix: &'static str,
    alphabet: Alphabet,
    least: usize,
    most: usize,
    /// A prefix that is also a word: what follows must not be words.
    pub(super) needs_digit: bool,
}

impl Form {
    /// Where a token of this form that begins at `at` ends.
    pub(super) fn end(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes[at..].strip_prefix(self.prefix.as_bytes())?;
        let length = rest.iter().take(self.most + 1).take_while(|c| self.alphabet.has(**c)).count();
        // A full stop or a hyphen at the end is the sentence's.
        let length = length - rest[..length].iter().rev().take_while(|c| matches!(c, b'.' | b'-')).count();
        (self.least..=self.most).contains(&length).then_some(at + self.prefix.len() + length)
    }
}

const MANY: usize = 4096;

const fn form(what: &'static str, prefix: &'static str, alphabet: Alphabet, least: usize, most: usize) -> Form {
    Form { what, prefix, alphabet, least, most, needs_digit: false }
}

const fn digits(form: Form) -> Form {
    Form { needs_digit: true, ..form }
}

use Alphabet::{Alnum, Base64, Dotted, Hex, Lower, Upper, Url};

#[rustfmt::skip]
pub(super) const FORMS: &[Form] = &[
    form("GitHub token", "ghp_", Alnum, 36, 255), form("GitHub token", "gho_", Alnum, 36, 255), form("GitHub token", "ghu_", Alnum, 36, 255),
    form("GitHub token", "ghs_", Dotted, 36, MANY), form("GitHub token", "ghr_", Alnum, 36, 255), form("GitHub token", "github_pat_", Url, 60, 255),
    form("GitLab token", "glpat-", Dotted, 20, 300), form("GitLab token", "gldt-", Url, 20, 300), form("GitLab token", "glptt-", Url, 20, 300),
    form("GitLab token", "glrt-", Dotted, 20, 300), form("GitLab token", "glrtr-", Dotted, 20, 300), form("GitLab token", "glcbt-", Url, 20, 300), form("GitLab token", "glft-", Url, 20, 300),
    form("GitLab token", "glsoat-", Url, 20, 300), form("GitLab token", "glimt-", Url, 20, 300), form("GitLab token", "glagent-", Url, 20, 300),
    form("GitLab token", "gloas-", Url, 20, 300), form("GitLab token", "glffct-", Url, 20, 300), form("GitLab runner token", "GR1348941", Url, 20, 60),
    form("Bitbucket token", "ATBB", Alnum, 24, 80), form("Atlassian token", "ATATT3", Base64, 60, MANY), form("Atlassian token", "ATCTT3", Base64, 60, MANY),
    digits(form("Slack token", "xoxb-", Url, 16, 255)), digits(form("Slack token", "xoxp-", Url, 16, 255)), digits(form("Slack token", "xoxa-", Url, 16, 255)),
    digits(form("Slack token", "xoxr-", Url, 16, 255)), digits(form("Slack token", "xoxs-", Url, 16, 255)), digits(form("Slack token", "xoxo-", Url, 16, 255)), digits(form("Slack token", "xoxc-", Url, 16, 255)),
    digits(form("Slack token", "xoxd-", Base64, 16, 600)), digits(form("Slack token", "xoxe-", Url, 16, 400)), digits(form("Slack token", "xoxe.xox", Url, 16, 400)), digits(form("Slack token", "xapp-", Url, 16, 255)),
    form("AWS access key", "AKIA", Upper, 16, 16), form("AWS access key", "ASIA", Upper, 16, 16), form("AWS access key", "ABIA", Upper, 16, 16), form("AWS access key", "ACCA", Upper, 16, 16),
    form("Amazon Bedrock key", "ABSK", Base64, 100, 200), form("Amazon MWS token", "amzn.mws.", Url, 36, 36),
    form("Google API key", "AIza", Url, 35, 35), form("Google access token", "ya29.", Url, 20, MANY), form("Google client secret", "GOCSPX-", Url, 24, 40),
    form("Google refresh token", "1//0", Url, 40, 200), digits(form("Alibaba Cloud key", "LTAI", Alnum, 12, 30)), digits(form("Tencent Cloud key", "AKID", Alnum, 32, 32)),
    form("DigitalOcean token", "dop_v1_", Hex, 64, 64), form("DigitalOcean token", "doo_v1_", Hex, 64, 64), form("DigitalOcean token", "dor_v1_", Hex, 64, 64),
    form("Stripe key", "sk_live_", Alnum, 16, 255), form("Stripe key", "sk_test_", Alnum, 16, 255), form("Stripe key", "rk_live_", Alnum, 16, 255), form("Stripe key", "rk_test_", Alnum, 16, 255),
    form("Stripe webhook secret", "whsec_", Base64, 24, 100), form("Twilio key", "SK", Hex, 32, 32), form("SendGrid key", "SG.", Dotted, 50, 100),
    form("Mailgun key", "key-", Hex, 32, 32), form("Brevo key", "xkeysib-", Url, 64, 100), form("Brevo key", "xsmtpsib-", Url, 64, 100), form("Postman key", "PMAK-", Url, 50, 80), form("Resend key", "re_", Url, 28, 50),
    form("npm token", "npm_", Alnum, 36, 80), form("PyPI token", "pypi-", Url, 50, MANY), form("RubyGems key", "rubygems_", Hex, 48, 48), form("crates.io token", "cio", Alnum, 32, 32),
    form("NuGet key", "oy2", Lower, 43, 43), form("Clojars token", "CLOJARS_", Alnum, 60, 60), form("Packagist token", "packagist_", Alnum, 40, 100),
    form("Docker token", "dckr_pat_", Url, 20, 60), form("Docker token", "dckr_oat_", Url, 20, 60), form("JFrog key", "AKCp", Alnum, 60, 100), form("JFrog token", "cmVmdGtu", Alnum, 50, 100),
    form("Heroku key", "HRKU-", Url, 36, 100), form("Netlify token", "nfp_", Alnum, 36, 80), form("Fly.io token", "FlyV1 fm2_", Base64, 40, MANY), form("Fly.io token", "fm2_", Base64, 60, MANY), form("Fly.io token", "fo1_", Url, 40, 80),
    form("Vercel token", "vcp_", Alnum, 24, 100), form("Vercel token", "vercel_blob_rw_", Url, 30, 100), form("Render key", "rnd_", Alnum, 24, 60), form("Railway token", "rw_Fe26.2", Base64, 50, MANY),
    form("Supabase token", "sbp_", Hex, 40, 40), form("Supabase key", "sb_secret_", Url, 30, 60), form("PlanetScale token", "pscale_tkn_", Dotted, 32, 80), form("PlanetScale password", "pscale_pw_", Dotted, 32, 80), form("PlanetScale token", "pscale_oauth_", Dotted, 32, 80),
    form("Neon key", "napi_", Alnum, 40, 80), form("Cloudflare key", "v1.0-", Url, 140, 200), form("Cloudflare token", "cfut_", Url, 40, 80), form("Cloudflare token", "cfat_", Url, 40, 80),
    digits(form("OpenAI key", "sk-proj-", Url, 40, 300)), digits(form("OpenAI key", "sk-svcacct-", Url, 40, 300)), digits(form("OpenAI key", "sk-admin-", Url, 40, 300)),
    digits(form("Anthropic key", "sk-ant-", Url, 32, 300)), form("OpenRouter key", "sk-or-v1-", Hex, 64, 64), digits(form("OpenAI key", "sk-", Alnum, 32, 100)), digits(form("Langfuse key", "sk-lf-", Url, 36, 36)),
    form("Hugging Face token", "hf_", Alnum, 30, 60), form("Hugging Face token", "api_org_", Alnum, 30, 60), form("Groq key", "gsk_", Alnum, 48, 60), form("Replicate token", "r8_", Alnum, 37, 60),
    form("Perplexity key", "pplx-", Alnum, 40, 60), form("xAI key", "xai-", Alnum, 70, 100), form("LangSmith key", "lsv2_pt_", Url, 36, 80), form("LangSmith key", "lsv2_sk_", Url, 36, 80),
    form("Pinecone key", "pcsk_", Url, 50, 100), form("Tavily key", "tvly-", Url, 24, 80), form("Fireworks key", "fw_", Alnum, 22, 40), form("NVIDIA key", "nvapi-", Url, 60, 80), form("Jina key", "jina_", Url, 60, 80), form("Cerebras key", "csk-", Lower, 40, 60),
    form("ElevenLabs key", "sk_", Hex, 48, 48), form("Apify token", "apify_api_", Alnum, 30, 60), form("Firecrawl key", "fc-", Hex, 32, 32),
    form("Vault token", "hvs.", Url, 24, 300), form("Vault token", "hvb.", Url, 24, 500), form("Vault token", "hvr.", Url, 24, 500), form("Pulumi token", "pul-", Hex, 40, 40), form("Scalr token", "at-", Alnum, 60, 120),
    form("Doppler token", "dp.pt.", Alnum, 40, 50), form("Doppler token", "dp.st.", Dotted, 40, 80), form("Doppler token", "dp.ct.", Alnum, 40, 50), form("Doppler token", "dp.sa.", Alnum, 40, 50), form("Doppler token", "dp.scim.", Alnum, 40, 50),
    form("1Password token", "ops_eyJ", Base64, 100, MANY), form("1Password secret key", "A3-", Url, 26, 40), form("Infisical token", "st.", Dotted, 60, 120), form("age secret key", "AGE-SECRET-KEY-1", Upper, 50, 70),
    form("Databricks token", "dapi", Hex, 32, 34), form("Snyk token", "snyk_", Dotted, 30, 120), form("SonarQube token", "sqp_", Hex, 40, 40), form("SonarQube token", "squ_", Hex, 40, 40), form("SonarQube token", "sqa_", Hex, 40, 40),
    form("Grafana token", "glc_", Base64, 32, 400), form("Grafana token", "glsa_", Url, 32, 60), form("New Relic key", "NRAK-", Upper, 27, 27), form("New Relic key", "NRII-", Url, 32, 32), form("New Relic key", "NRAA-", Hex, 27, 27), form("New Relic key", "NRSP-", Url, 20, 60),
    form("Sentry token", "sntrys_", Base64, 40, 400), form("Sentry token", "sntryu_", Hex, 64, 64), form("Honeycomb key", "hcaik_", Lower, 58, 58), form("Dynatrace token", "dt0c01.", Dotted, 80, 100), form("Dynatrace token", "dt0s01.", Dotted, 80, 100), form("PagerDuty key", "pdus+", Base64, 20, 40),
    form("Shopify token", "shpat_", Hex, 32, 32), form("Shopify token", "shpca_", Hex, 32, 32), form("Shopify token", "shppa_", Hex, 32, 32), form("Shopify secret", "shpss_", Hex, 32, 32),
    form("Square token", "sq0atp-", Url, 22, 22), form("Square secret", "sq0csp-", Url, 43, 43), form("Square token", "EAAA", Url, 60, 60), form("Square token", "EAAAE", Url, 55, 64), form("Facebook token", "EAAC", Alnum, 60, 400), form("PayPal token", "access_token$production$", Url, 40, 80), form("Lob key", "live_", Hex, 35, 35), form("EasyPost key", "EZAK", Alnum, 54, 54), form("Plaid token", "access-production-", Url, 36, 36),
    form("Linear key", "lin_api_", Alnum, 40, 40), form("Notion token", "secret_", Alnum, 43, 43), form("Notion token", "ntn_", Alnum, 40, 60), form("Figma token", "figd_", Url, 36, 80), form("Asana token", "2/", Dotted, 60, 80), form("ClickUp token", "pk_", Upper, 38, 50), form("Typeform token", "tfp_", Dotted, 40, 80), form("ReadMe key", "rdme_", Lower, 70, 70),
    form("Tailscale key", "tskey-auth-", Url, 20, 80), form("Tailscale key", "tskey-api-", Url, 20, 80), form("Tailscale key", "tskey-client-", Url, 20, 80), form("Teleport token", "tp_", Hex, 64, 64), form("Frame.io token", "fio-u-", Url, 64, 64),
    form("CircleCI token", "CCIPAT_", Url, 50, 100), form("CircleCI token", "CCIPRJ_", Url, 50, 100), form("Buildkite token", "bkua_", Hex, 40, 40), form("Buildkite token", "bkct_", Alnum, 40, 120), form("Buildkite token", "bkaj_", Dotted, 40, MANY), form("Prefect key", "pnu_", Alnum, 36, 36), form("Sourcegraph token", "sgp_", Url, 40, 80), form("Nx Cloud token", "nxc_", Alnum, 40, 60), form("Depot token", "depot_org_", Url, 40, 200), form("Codecov token", "cvt_", Alnum, 36, 80),
    form("Airtable token", "pat", Dotted, 79, 79), form("Mapbox secret token", "sk.eyJ", Dotted, 60, 300), form("LaunchDarkly key", "sdk-", Url, 36, 36), form("Contentful token", "CFPAT-", Url, 43, 43), form("OpenShift token", "sha256~", Url, 40, 50), form("Intra42 secret", "s-s4t2ud-", Hex, 64, 64), form("Yandex key", "AQVN", Url, 35, 40), form("Yandex token", "y0_", Url, 50, 80), form("Dropbox token", "sl.", Url, 130, MANY), form("Rancher token", "kubeconfig-u-", Dotted, 50, 100), form("Hetzner token", "hcloud_", Alnum, 64, 64), form("Zuplo key", "zpka_", Url, 40, 80), form("Polar token", "polar_", Url, 40, 80), form("Shippo key", "shippo_live_", Hex, 40, 40), form("Flutterwave key", "FLWSECK-", Url, 32, 60), form("Duffel token", "duffel_live_", Url, 43, 43), form("Maxmind key", "mmk_", Alnum, 20, 60),
];
