-- The sample database of a small feedback service: guests scan a QR code at a
-- table or a counter, order, and leave a review; the business answers.
--
-- About 220,000 rows, made inside the server. Every value is computed from a
-- row number, and the session's clock stands still, so two loads give equal
-- data. Load it with the mariadb client into an empty database:
--
--     mariadb --binary-mode --comments DATABASE < sample.sql

SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci;
SET SESSION sql_mode = '';                     -- zero dates are part of the sample
SET SESSION time_zone = '+00:00';
SET SESSION timestamp = 1795165200;            -- 2026-11-20 09:00:00 UTC, for CURRENT_TIMESTAMP
SET SESSION foreign_key_checks = 0, unique_checks = 0;

-- ---------------------------------------------------------------------------
-- Tables
-- ---------------------------------------------------------------------------

CREATE TABLE businesses (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  public_id     CHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name          VARCHAR(120) NOT NULL,
  category      ENUM('restaurant','café','bakery','hotel','salon','garage') NOT NULL,
  country       CHAR(2) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
  city          VARCHAR(60) NOT NULL,
  languages     SET('en','de','es','fr','tr','el','ar','ja','ru','hi') NOT NULL,
  plan          ENUM('free','starter','pro') NOT NULL DEFAULT 'free',
  features      BIT(8) NOT NULL DEFAULT b'00000001' COMMENT 'reviews, orders, replies, alerts, …',
  opening_hours JSON NOT NULL,
  logo          BLOB DEFAULT NULL COMMENT 'GIF',
  latitude      DOUBLE NOT NULL,
  longitude     DOUBLE NOT NULL,
  registered_on DATE NOT NULL,
  closed_on     DATE DEFAULT NULL,
  created_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  UNIQUE KEY public_id (public_id),
  KEY place (country, city),
  KEY category (category)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='Who asks for feedback';

CREATE TABLE customers (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  email         VARCHAR(190) NOT NULL,
  display_name  VARCHAR(80) NOT NULL,
  language      CHAR(2) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
  phone         VARCHAR(20) DEFAULT NULL,
  birthday      DATE NOT NULL DEFAULT '0000-00-00' COMMENT '0000-00-00 = not told; 0000-MM-DD = year not told',
  loyalty_card  BIGINT UNSIGNED NOT NULL COMMENT 'counted down from the top of the range',
  newsletter    BIT(1) NOT NULL DEFAULT b'0',
  email_domain  VARCHAR(190) GENERATED ALWAYS AS (SUBSTRING_INDEX(email, '@', -1)) VIRTUAL,
  created_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  UNIQUE KEY email (email),
  UNIQUE KEY loyalty_card (loyalty_card),
  KEY display_name (display_name(12))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='Guests who left an address';

CREATE TABLE qr_codes (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  business_id   INT UNSIGNED NOT NULL,
  token         CHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  label         VARCHAR(60) NOT NULL,
  placement     ENUM('table','counter','receipt','room','window') NOT NULL,
  flags         BIT(4) NOT NULL DEFAULT b'0001' COMMENT 'active, printed, laminated, multilingual',
  scans         BIGINT UNSIGNED NOT NULL DEFAULT 0,
  design        JSON DEFAULT NULL,
  retired_at    DATETIME DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY token (token),
  KEY business (business_id, placement),
  CONSTRAINT qr_codes_business FOREIGN KEY (business_id) REFERENCES businesses (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='Where the feedback comes from';

CREATE TABLE products (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  business_id   INT UNSIGNED NOT NULL,
  sku           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name          VARCHAR(80) NOT NULL,
  price         DECIMAL(10,2) NOT NULL,
  available     TINYINT(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (id),
  UNIQUE KEY sku (business_id, sku),
  CONSTRAINT products_business FOREIGN KEY (business_id) REFERENCES businesses (id) ON DELETE CASCADE,
  CONSTRAINT price_is_not_negative CHECK (price >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE reviews (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  business_id   INT UNSIGNED NOT NULL,
  qr_code_id    INT UNSIGNED DEFAULT NULL,
  customer_id   INT UNSIGNED DEFAULT NULL COMMENT 'NULL = anonymous',
  rating        TINYINT UNSIGNED NOT NULL,
  language      CHAR(2) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
  title         VARCHAR(120) DEFAULT NULL,
  body          TEXT NOT NULL,
  tags          SET('service','food','price','clean','quiet','family','queue','parking') NOT NULL DEFAULT '',
  answers       JSON DEFAULT NULL COMMENT 'the questions behind the QR code',
  sentiment     DOUBLE DEFAULT NULL,
  visited_on    DATE NOT NULL DEFAULT '0000-00-00',
  mood          VARCHAR(8) GENERATED ALWAYS AS (CASE WHEN rating >= 4 THEN 'happy' WHEN rating = 3 THEN 'neutral' ELSE 'unhappy' END) STORED,
  body_length   INT UNSIGNED GENERATED ALWAYS AS (CHAR_LENGTH(body)) VIRTUAL,
  status        ENUM('new','published','answered','hidden') NOT NULL DEFAULT 'new',
  created_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  updated_at    TIMESTAMP(6) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  KEY business_rating (business_id, rating, created_at),
  KEY qr_code (qr_code_id),
  KEY customer (customer_id),
  KEY mood (mood, status),
  CONSTRAINT reviews_business FOREIGN KEY (business_id) REFERENCES businesses (id) ON DELETE CASCADE,
  CONSTRAINT reviews_qr_code FOREIGN KEY (qr_code_id) REFERENCES qr_codes (id) ON DELETE SET NULL,
  CONSTRAINT reviews_customer FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE SET NULL,
  CONSTRAINT rating_is_one_to_five CHECK (rating BETWEEN 1 AND 5)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='What the guests say';

CREATE TABLE replies (
  id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  review_id     BIGINT UNSIGNED NOT NULL,
  parent_id     BIGINT UNSIGNED DEFAULT NULL,
  author        ENUM('owner','customer','support') NOT NULL,
  body          TEXT NOT NULL,
  created_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  KEY review (review_id, created_at),
  KEY parent (parent_id),
  CONSTRAINT replies_review FOREIGN KEY (review_id) REFERENCES reviews (id) ON DELETE CASCADE,
  CONSTRAINT replies_parent FOREIGN KEY (parent_id) REFERENCES replies (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE orders (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  order_number  CHAR(14) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  business_id   INT UNSIGNED NOT NULL,
  customer_id   INT UNSIGNED DEFAULT NULL,
  qr_code_id    INT UNSIGNED DEFAULT NULL,
  status        ENUM('open','paid','cancelled','refunded') NOT NULL DEFAULT 'open',
  currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT 'EUR',
  subtotal      DECIMAL(10,2) NOT NULL,
  tip           DECIMAL(8,2) NOT NULL DEFAULT 0.00,
  tax_rate      DECIMAL(5,4) NOT NULL,
  tax           DECIMAL(10,2) GENERATED ALWAYS AS (ROUND(subtotal * tax_rate, 2)) STORED,
  total         DECIMAL(11,2) GENERATED ALWAYS AS (subtotal + tip) VIRTUAL,
  note          VARCHAR(200) DEFAULT NULL,
  ordered_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  paid_at       TIMESTAMP(6) NULL DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY order_number (order_number),
  KEY business_time (business_id, ordered_at),
  KEY customer (customer_id),
  KEY qr_code (qr_code_id),
  CONSTRAINT orders_business FOREIGN KEY (business_id) REFERENCES businesses (id),
  CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE SET NULL,
  CONSTRAINT orders_qr_code FOREIGN KEY (qr_code_id) REFERENCES qr_codes (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE order_items (
  order_id      INT UNSIGNED NOT NULL,
  line_number   TINYINT UNSIGNED NOT NULL,
  product_id    INT UNSIGNED NOT NULL,
  quantity      SMALLINT UNSIGNED NOT NULL,
  unit_price    DECIMAL(10,2) NOT NULL,
  line_total    DECIMAL(12,2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
  PRIMARY KEY (order_id, line_number),
  KEY product (product_id),
  CONSTRAINT order_items_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  CONSTRAINT order_items_product FOREIGN KEY (product_id) REFERENCES products (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE review_changes (
  id            INT UNSIGNED NOT NULL AUTO_INCREMENT,
  review_id     BIGINT UNSIGNED NOT NULL,
  change_text   VARCHAR(120) NOT NULL,
  changed_at    TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  KEY review (review_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='Written by a trigger';

CREATE TABLE daily_ratings (
  business_id   INT UNSIGNED NOT NULL,
  day           DATE NOT NULL,
  reviews       INT UNSIGNED NOT NULL,
  average       DECIMAL(3,2) NOT NULL,
  PRIMARY KEY (business_id, day),
  CONSTRAINT daily_ratings_business FOREIGN KEY (business_id) REFERENCES businesses (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='Written by a procedure';

-- The one table with FLOAT columns. mysqldump and mariadb-dump print a FLOAT
-- with six digits: `baseline` holds values that survive this exactly, and in
-- `weight` every third row (1/3, 2/7, …) comes back a little different. A
-- backup tool should find that and say so.
CREATE TABLE topic_weights (
  topic         VARCHAR(30) NOT NULL,
  language      CHAR(2) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
  baseline      FLOAT NOT NULL,
  weight        FLOAT NOT NULL,
  PRIMARY KEY (topic, language)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='How much a topic counts in the sentiment';

/*M!100300 CREATE SEQUENCE ticket_numbers START WITH 1000 INCREMENT BY 1 MINVALUE 1000 MAXVALUE 999999 CACHE 20 NOCYCLE ENGINE=InnoDB */;

-- ---------------------------------------------------------------------------
-- Building blocks for the rows (temporary tables: they end with this session)
-- ---------------------------------------------------------------------------

CREATE TEMPORARY TABLE ten (d INT NOT NULL PRIMARY KEY);
INSERT INTO ten VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TEMPORARY TABLE number (n INT UNSIGNED NOT NULL PRIMARY KEY);
INSERT INTO number
  WITH digit AS (SELECT d FROM ten)
  SELECT 1 + ones.d + 10 * tens.d + 100 * hundreds.d + 1000 * thousands.d + 10000 * myriads.d
  FROM digit ones, digit tens, digit hundreds, digit thousands, digit myriads WHERE myriads.d < 7;

CREATE TEMPORARY TABLE place (k INT NOT NULL PRIMARY KEY, country CHAR(2), city VARCHAR(60), language CHAR(2), languages VARCHAR(40), latitude DOUBLE, longitude DOUBLE, currency CHAR(3), tax_rate DECIMAL(5,4)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO place VALUES
  (0,'DE','Köln','de','de,en',50.9375,6.9603,'EUR',0.1900),
  (1,'GB','Manchester','en','en',53.4808,-2.2426,'GBP',0.2000),
  (2,'ES','Cádiz','es','en,es',36.5271,-6.2886,'EUR',0.1000),
  (3,'FR','Orléans','fr','fr,en',47.9030,1.9093,'EUR',0.1000),
  (4,'TR','İzmir','tr','tr,en,de',38.4237,27.1428,'TRY',0.1000),
  (5,'GR','Θεσσαλονίκη','el','el,en',40.6401,22.9444,'EUR',0.1300),
  (6,'AE','الشارقة','ar','ar,en',25.3463,55.4209,'AED',0.0500),
  (7,'JP','京都','ja','ja,en',35.0116,135.7681,'JPY',0.1000),
  (8,'KZ','Алматы','ru','ru,en',43.2220,76.8512,'KZT',0.1200),
  (9,'IN','जयपुर','hi','hi,en',26.9124,75.7873,'INR',0.0500);

-- What is said about a visit: opening, middle and closing, by language and mood
-- (2 = happy, 1 = neutral, 0 = unhappy).
CREATE TEMPORARY TABLE phrase (language CHAR(2), part TINYINT, mood TINYINT, k TINYINT, txt VARCHAR(200), PRIMARY KEY (language, part, mood, k)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO phrase VALUES
  ('en',1,2,0,'Wonderful evening, thank you! 😊'),('en',1,2,1,'Best service in town.'),('en',1,2,2,'We''ll be back next week 👍'),
  ('en',1,1,0,'It was all right.'),('en',1,1,1,'Good, but nothing special.'),('en',1,1,2,'Mixed feelings:'),
  ('en',1,0,0,'We waited far too long. 😕'),('en',1,0,1,'Not what we had hoped for.'),('en',1,0,2,'Sorry, never again!'),
  ('en',2,2,0,'The staff remembered our names and the food came hot'),('en',2,2,1,'Everything was clean, quick and friendly'),('en',2,2,2,'The children loved the little drawings on the menu'),
  ('en',2,1,0,'The place is nice, only the music was loud'),('en',2,1,1,'Prices went up, portions did not'),('en',2,1,2,'Friendly people, slow kitchen'),
  ('en',2,0,0,'Nobody could tell us where our order was'),('en',2,0,1,'The table was sticky and the coffee cold ☕'),('en',2,0,2,'The card reader said "error" three times'),
  ('de',1,2,0,'Großartig, vielen Dank! 😊'),('de',1,2,1,'Sehr freundliche Bedienung.'),('de',1,2,2,'Immer wieder gern 👍'),
  ('de',1,1,0,'Ganz in Ordnung.'),('de',1,1,1,'Gut, aber nicht außergewöhnlich.'),('de',1,1,2,'Gemischte Gefühle:'),
  ('de',1,0,0,'Viel zu lange gewartet. 😕'),('de',1,0,1,'Leider enttäuschend.'),('de',1,0,2,'Schade, nie wieder!'),
  ('de',2,2,0,'Das Frühstück war frisch und reichlich'),('de',2,2,1,'Schöne Terrasse, ruhig und gepflegt'),('de',2,2,2,'Auch mit Kindern sehr angenehm'),
  ('de',2,1,0,'Das Essen gut, die Musik zu laut'),('de',2,1,1,'Preise gestiegen, Portionen nicht'),('de',2,1,2,'Nette Leute, langsame Küche'),
  ('de',2,0,0,'Niemand wusste, wo unsere Bestellung war'),('de',2,0,1,'Der Kaffee kalt, der Tisch klebrig ☕'),('de',2,0,2,'Die Rechnung stimmte nicht: 3 × falsch'),
  ('es',1,2,0,'¡Una tarde estupenda! 😊'),('es',1,2,1,'El mejor servicio de la ciudad.'),('es',1,2,2,'Volveremos pronto 👍'),
  ('es',1,1,0,'No está mal.'),('es',1,1,1,'Bien, sin más.'),('es',1,1,2,'Sensaciones encontradas:'),
  ('es',1,0,0,'Esperamos demasiado. 😕'),('es',1,0,1,'No es lo que esperábamos.'),('es',1,0,2,'¡Nunca más!'),
  ('es',2,2,0,'Todo limpio, rápido y con cariño'),('es',2,2,1,'El pescado, fresquísimo'),('es',2,2,2,'A los niños les encantó'),
  ('es',2,1,0,'La música demasiado alta'),('es',2,1,1,'Los precios suben, las raciones no'),('es',2,1,2,'Gente amable, cocina lenta'),
  ('es',2,0,0,'Nadie sabía dónde estaba nuestro pedido'),('es',2,0,1,'El café llegó frío ☕'),('es',2,0,2,'Se equivocaron dos veces con la cuenta'),
  ('fr',1,2,0,'Une très belle soirée ! 😊'),('fr',1,2,1,'Accueil chaleureux.'),('fr',1,2,2,'Nous reviendrons 👍'),
  ('fr',1,1,0,'Correct.'),('fr',1,1,1,'Bien, sans plus.'),('fr',1,1,2,'Un avis partagé :'),
  ('fr',1,0,0,'Beaucoup trop d''attente. 😕'),('fr',1,0,1,'Déçus.'),('fr',1,0,2,'Plus jamais !'),
  ('fr',2,2,0,'Tout était propre, rapide et souriant'),('fr',2,2,1,'Le pain sortait du four'),('fr',2,2,2,'Parfait avec des enfants'),
  ('fr',2,1,0,'L''endroit est joli, la musique trop forte'),('fr',2,1,1,'Les prix montent, pas les portions'),('fr',2,1,2,'Équipe aimable, cuisine lente'),
  ('fr',2,0,0,'Personne ne savait où était notre commande'),('fr',2,0,1,'Le café est arrivé froid ☕'),('fr',2,0,2,'Deux erreurs dans l''addition'),
  ('tr',1,2,0,'Harika bir akşamdı, teşekkürler! 😊'),('tr',1,2,1,'Şehrin en iyi hizmeti.'),('tr',1,2,2,'Yine geleceğiz 👍'),
  ('tr',1,1,0,'Fena değil.'),('tr',1,1,1,'İyi ama sıradan.'),('tr',1,1,2,'Kararsız kaldık:'),
  ('tr',1,0,0,'Çok bekledik. 😕'),('tr',1,0,1,'Beklediğimiz gibi değildi.'),('tr',1,0,2,'Bir daha asla!'),
  ('tr',2,2,0,'Her şey temiz, hızlı ve güler yüzlüydü'),('tr',2,2,1,'Kahvaltı taptazeydi'),('tr',2,2,2,'Çocuklar çok sevdi'),
  ('tr',2,1,0,'Yer güzel, müzik fazla yüksek'),('tr',2,1,1,'Fiyatlar arttı, porsiyonlar artmadı'),('tr',2,1,2,'İnsanlar hoş, mutfak yavaş'),
  ('tr',2,0,0,'Siparişimizin nerede olduğunu kimse bilmiyordu'),('tr',2,0,1,'Çay soğuktu ☕'),('tr',2,0,2,'Hesap iki kez yanlış geldi'),
  ('el',1,2,0,'Υπέροχη βραδιά, ευχαριστούμε! 😊'),('el',1,2,1,'Η καλύτερη εξυπηρέτηση.'),('el',1,2,2,'Θα ξανάρθουμε 👍'),
  ('el',1,1,0,'Καλά ήταν.'),('el',1,1,1,'Καλό, τίποτα ιδιαίτερο.'),('el',1,1,2,'Ανάμεικτες εντυπώσεις:'),
  ('el',1,0,0,'Περιμέναμε πολλή ώρα. 😕'),('el',1,0,1,'Δεν ήταν αυτό που ελπίζαμε.'),('el',1,0,2,'Ποτέ ξανά!'),
  ('el',2,2,0,'Όλα καθαρά, γρήγορα και με χαμόγελο'),('el',2,2,1,'Το ψάρι ολόφρεσκο'),('el',2,2,2,'Τα παιδιά ενθουσιάστηκαν'),
  ('el',2,1,0,'Ωραίος χώρος, δυνατή μουσική'),('el',2,1,1,'Οι τιμές ανέβηκαν, οι μερίδες όχι'),('el',2,1,2,'Ευγενικοί, αλλά αργή κουζίνα'),
  ('el',2,0,0,'Κανείς δεν ήξερε πού είναι η παραγγελία μας'),('el',2,0,1,'Ο καφές ήρθε κρύος ☕'),('el',2,0,2,'Λάθος λογαριασμός δύο φορές'),
  ('ar',1,2,0,'أمسية رائعة، شكرًا لكم! 😊'),('ar',1,2,1,'أفضل خدمة في المدينة.'),('ar',1,2,2,'سنعود قريبًا 👍'),
  ('ar',1,1,0,'لا بأس به.'),('ar',1,1,1,'جيد لكنه عادي.'),('ar',1,1,2,'انطباع متباين:'),
  ('ar',1,0,0,'انتظرنا طويلًا. 😕'),('ar',1,0,1,'لم يكن كما توقعنا.'),('ar',1,0,2,'لن نعود أبدًا!'),
  ('ar',2,2,0,'كل شيء نظيف وسريع ولطيف'),('ar',2,2,1,'الخبز طازج دائمًا'),('ar',2,2,2,'أحب الأطفال المكان'),
  ('ar',2,1,0,'المكان جميل لكن الموسيقى عالية'),('ar',2,1,1,'ارتفعت الأسعار ولم تكبر الأطباق'),('ar',2,1,2,'فريق لطيف ومطبخ بطيء'),
  ('ar',2,0,0,'لم يعرف أحد أين طلبنا'),('ar',2,0,1,'وصلت القهوة باردة ☕'),('ar',2,0,2,'كان الحساب خاطئًا مرتين'),
  ('ja',1,2,0,'とても楽しい夜でした！😊'),('ja',1,2,1,'町で一番のサービスです。'),('ja',1,2,2,'また来ます 👍'),
  ('ja',1,1,0,'まあまあでした。'),('ja',1,1,1,'良いけれど普通です。'),('ja',1,1,2,'少し複雑な気持ち：'),
  ('ja',1,0,0,'長く待たされました。😕'),('ja',1,0,1,'期待と違いました。'),('ja',1,0,2,'もう行きません！'),
  ('ja',2,2,0,'清潔で早くて、とても親切でした'),('ja',2,2,1,'魚がとても新鮮でした'),('ja',2,2,2,'子どもたちも大喜びでした'),
  ('ja',2,1,0,'雰囲気は良いが音楽が大きい'),('ja',2,1,1,'値段は上がり、量はそのまま'),('ja',2,1,2,'店員は親切、料理は遅い'),
  ('ja',2,0,0,'注文がどうなったか誰も知りませんでした'),('ja',2,0,1,'コーヒーが冷めていました ☕'),('ja',2,0,2,'会計が二度も間違っていました'),
  ('ru',1,2,0,'Замечательный вечер, спасибо! 😊'),('ru',1,2,1,'Лучшее обслуживание в городе.'),('ru',1,2,2,'Придём ещё 👍'),
  ('ru',1,1,0,'Неплохо.'),('ru',1,1,1,'Хорошо, но ничего особенного.'),('ru',1,1,2,'Смешанные чувства:'),
  ('ru',1,0,0,'Слишком долго ждали. 😕'),('ru',1,0,1,'Не то, на что надеялись.'),('ru',1,0,2,'Больше никогда!'),
  ('ru',2,2,0,'Всё чисто, быстро и с улыбкой'),('ru',2,2,1,'Хлеб прямо из печи'),('ru',2,2,2,'Детям очень понравилось'),
  ('ru',2,1,0,'Место хорошее, музыка громкая'),('ru',2,1,1,'Цены выросли, порции нет'),('ru',2,1,2,'Люди приятные, кухня медленная'),
  ('ru',2,0,0,'Никто не знал, где наш заказ'),('ru',2,0,1,'Кофе принесли холодным ☕'),('ru',2,0,2,'Дважды ошиблись в счёте'),
  ('hi',1,2,0,'बहुत अच्छी शाम रही, धन्यवाद! 😊'),('hi',1,2,1,'शहर की सबसे अच्छी सेवा।'),('hi',1,2,2,'हम फिर आएँगे 👍'),
  ('hi',1,1,0,'ठीक-ठाक था।'),('hi',1,1,1,'अच्छा है, पर ख़ास नहीं।'),('hi',1,1,2,'मिला-जुला अनुभव:'),
  ('hi',1,0,0,'बहुत देर इंतज़ार करना पड़ा। 😕'),('hi',1,0,1,'जैसा सोचा था वैसा नहीं।'),('hi',1,0,2,'अब कभी नहीं!'),
  ('hi',2,2,0,'सब कुछ साफ़, तेज़ और प्यार से'),('hi',2,2,1,'मिठाई एकदम ताज़ा थी'),('hi',2,2,2,'बच्चों को बहुत मज़ा आया'),
  ('hi',2,1,0,'जगह सुंदर, संगीत तेज़'),('hi',2,1,1,'दाम बढ़े, मात्रा नहीं'),('hi',2,1,2,'लोग अच्छे, रसोई धीमी'),
  ('hi',2,0,0,'किसी को नहीं पता था हमारा ऑर्डर कहाँ है'),('hi',2,0,1,'चाय ठंडी थी ☕'),('hi',2,0,2,'बिल दो बार ग़लत आया');
CREATE TEMPORARY TABLE middle AS SELECT language, mood, k, txt FROM phrase WHERE part = 2;
ALTER TABLE middle ADD PRIMARY KEY (language, mood, k);

CREATE TEMPORARY TABLE catalogue (category VARCHAR(12), k TINYINT, name VARCHAR(80), price DECIMAL(10,2), PRIMARY KEY (category, k)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO catalogue VALUES
  ('restaurant',0,'Lentil soup',6.50),('restaurant',1,'Grilled sea bass',18.90),('restaurant',2,'Mushroom risotto',14.20),('restaurant',3,'Lamb stew',17.40),('restaurant',4,'Garden salad',7.80),('restaurant',5,'Crème brûlée',6.90),('restaurant',6,'House lemonade 🍋',4.20),('restaurant',7,'Espresso',2.40),
  ('café',0,'Flat white',3.80),('café',1,'Cappuccino',3.60),('café',2,'Green tea',3.20),('café',3,'Carrot cake 🥕',4.90),('café',4,'Cheese toast',5.40),('café',5,'Orange juice',4.10),('café',6,'Granola bowl',6.80),('café',7,'Hot chocolate',4.30),
  ('bakery',0,'Sourdough loaf',5.20),('bakery',1,'Butter croissant 🥐',2.30),('bakery',2,'Poppy seed roll',1.10),('bakery',3,'Apple strudel',3.90),('bakery',4,'Rye bread',4.40),('bakery',5,'Cinnamon bun',2.90),('bakery',6,'Simit',1.30),('bakery',7,'Birthday cake',32.00),
  ('hotel',0,'Double room, one night',118.00),('hotel',1,'Single room, one night',84.00),('hotel',2,'Breakfast',14.50),('hotel',3,'Late check-out',25.00),('hotel',4,'Parking, one day',12.00),('hotel',5,'Laundry',18.00),('hotel',6,'Airport transfer',45.00),('hotel',7,'Minibar',9.50),
  ('salon',0,'Haircut',32.00),('salon',1,'Colour',68.00),('salon',2,'Beard trim',18.00),('salon',3,'Manicure',29.00),('salon',4,'Shampoo 250 ml',11.90),('salon',5,'Blow-dry',24.00),('salon',6,'Highlights',89.00),('salon',7,'Gift voucher',50.00),
  ('garage',0,'Oil change',79.00),('garage',1,'Tyre swap, four wheels',45.00),('garage',2,'Brake pads, front',189.00),('garage',3,'Inspection',110.00),('garage',4,'Wiper blades',24.90),('garage',5,'Air conditioning service',95.00),('garage',6,'Battery',139.00),('garage',7,'Windscreen repair',69.00);

-- ---------------------------------------------------------------------------
-- Rows
-- ---------------------------------------------------------------------------

INSERT INTO businesses
  (id, public_id, name, category, country, city, languages, plan, features, opening_hours, logo, latitude, longitude, registered_on, closed_on, created_at)
SELECT
  n,
  LEFT(MD5(CONCAT('business', n)), 12),
  CONCAT(
    ELT(1 + CRC32(CONCAT('a', n)) MOD 20, 'Blue', 'Old Town', 'Sunny', 'Little', 'Corner', 'Golden', 'Harbour', 'Garden', 'Grandma’s', 'Three Brothers', 'Green', 'Station', 'Market', 'Olive', 'Red', 'Lighthouse', 'Maple', 'River', 'Sister’s', 'Morning'),
    ' ',
    ELT(1 + n MOD 6, 'Kitchen', 'Café', 'Bakery', 'Inn', 'Hair & Beauty', 'Garage'),
    ' No. ', n),
  1 + n MOD 6,
  country, city, languages,
  1 + CRC32(CONCAT('plan', n)) MOD 3,
  CRC32(CONCAT('features', n)) & 255 | 1,
  JSON_OBJECT('mon-fri', JSON_ARRAY('08:00', ELT(1 + n MOD 3, '18:00', '20:00', '22:30')), 'sat', JSON_ARRAY('09:00', '16:00'), 'sun', IF(n MOD 4 = 0, JSON_ARRAY('10:00', '14:00'), NULL)),
  IF(n MOD 5 = 0, NULL, CONCAT(UNHEX('474946383961010001008000'), UNHEX('00'), UNHEX(LEFT(MD5(n), 12)), UNHEX('2C00000000010001000002024401003B'))),
  latitude + CRC32(CONCAT('lat', n)) MOD 20000 / 137931e0 - 0.07,
  longitude + CRC32(CONCAT('lon', n)) MOD 20000 / 91463e0 - 0.11,
  DATE_ADD('2022-03-01', INTERVAL CRC32(CONCAT('reg', n)) MOD 1500 DAY),
  IF(n MOD 37 = 0, '2026-09-30', NULL),
  TIMESTAMP(DATE_ADD('2022-03-01', INTERVAL CRC32(CONCAT('reg', n)) MOD 1500 DAY), SEC_TO_TIME(28800 + (CRC32(CONCAT('at', n)) MOD 36000000) / 1000))
FROM number STRAIGHT_JOIN place ON place.k = (n DIV 6) MOD 10
WHERE n <= 300;

INSERT INTO customers (id, email, display_name, language, phone, birthday, loyalty_card, newsletter, created_at)
SELECT
  n,
  CONCAT(LOWER(ELT(1 + CRC32(CONCAT('f', n)) MOD 24, 'anna', 'ben', 'carla', 'deniz', 'elif', 'fatma', 'george', 'hana', 'ivan', 'julia', 'kemal', 'lena', 'maria', 'nikos', 'omar', 'priya', 'quinn', 'rosa', 'sven', 'tara', 'umut', 'vera', 'wei', 'yuki')), '.', n, '@',
    ELT(1 + CRC32(CONCAT('d', n)) MOD 5, 'example.com', 'example.org', 'mail.example', 'post.example', 'inbox.example')),
  CONCAT(ELT(1 + CRC32(CONCAT('f', n)) MOD 24, 'Anna', 'Ben', 'Carla', 'Deniz', 'Elif', 'Fatma', 'Γιώργος', 'Hana', 'Иван', 'Júlia', 'Kemal', 'Lena', 'María', 'Νίκος', 'عمر', 'प्रिया', 'Quinn', 'Rosa', 'Sven', 'Tara', 'Umut', 'Вера', '伟', 'ゆき'), ' ',
    ELT(1 + CRC32(CONCAT('s', n)) MOD 20, 'Müller', 'Smith', 'García', 'Dubois', 'Yılmaz', 'Παπαδάκη', 'Haddad', '田中', 'Ахметов', 'Sharma', 'O’Brien', 'Çelik', 'Nowak', 'Rossi', 'Jensen', 'Weiß', 'López', 'Kaya', 'Singh', 'Novák')),
  language,
  IF(CRC32(CONCAT('p', n)) MOD 3 = 0, NULL, CONCAT('+', 30 + n MOD 60, ' 555 ', LPAD(CRC32(CONCAT('ph', n)) MOD 10000000, 7, '0'))),
  CASE
    WHEN CRC32(CONCAT('b', n)) MOD 4 = 0 THEN '0000-00-00'
    WHEN CRC32(CONCAT('b', n)) MOD 29 = 0 THEN CONCAT('0000-', LPAD(1 + n MOD 12, 2, '0'), '-', LPAD(1 + n MOD 28, 2, '0'))
    ELSE DATE_ADD('1948-01-01', INTERVAL CRC32(CONCAT('bd', n)) MOD 21900 DAY)
  END,
  18446744073709551615 - (n - 1) * 7919,
  CRC32(CONCAT('n', n)) & 1,
  DATE_ADD('2023-01-01 06:00:00', INTERVAL n * 5040 + CRC32(CONCAT('t', n)) MOD 5000 SECOND) + INTERVAL CRC32(CONCAT('u', n)) MOD 1000000 MICROSECOND
FROM number STRAIGHT_JOIN place ON place.k = CRC32(CONCAT('l', n)) MOD 10
WHERE n <= 24000;

INSERT INTO qr_codes (id, business_id, token, label, placement, flags, scans, design, retired_at)
SELECT
  n, (n - 1) DIV 5 + 1,
  LEFT(MD5(CONCAT('qr', n)), 10),
  ELT(1 + (n - 1) MOD 5, CONCAT('Table ', 1 + n MOD 24), 'Counter', 'Receipt', CONCAT('Room ', 100 + n MOD 60), 'Window 🪟'),
  1 + (n - 1) MOD 5,
  (CRC32(CONCAT('fl', n)) & 14) | (n MOD 11 <> 0),
  CRC32(CONCAT('sc', n)) MOD 90000,
  IF(n MOD 7 = 0, NULL, JSON_OBJECT('colour', CONCAT('#', LEFT(MD5(n), 6)), 'shape', ELT(1 + n MOD 3, 'square', 'dots', 'rounded'), 'caption', ELT(1 + n MOD 4, 'How was it?', 'Wie war’s?', '¿Qué tal?', 'Nasıldı?'))),
  IF(n MOD 11 = 0, DATE_ADD('2026-01-05 17:30:00', INTERVAL n MOD 200 DAY), NULL)
FROM number WHERE n <= 1500;

INSERT INTO products (id, business_id, sku, name, price, available)
SELECT (b.id - 1) * 8 + c.k + 1, b.id, CONCAT(UPPER(LEFT(MD5(c.name), 4)), '-', LPAD(c.k + 1, 3, '0')), c.name,
  c.price + CRC32(CONCAT('price', b.id)) MOD 21 / 10 - 1, b.id MOD 13 <> c.k
FROM businesses b STRAIGHT_JOIN catalogue c ON c.category = b.category;

INSERT INTO reviews (id, business_id, qr_code_id, customer_id, rating, language, title, body, tags, answers, sentiment, visited_on, status, created_at, updated_at)
SELECT
  r.n, r.business_id,
  IF(r.n MOD 9 = 0, NULL, (r.business_id - 1) * 5 + 1 + CRC32(CONCAT('q', r.n)) MOD 5),
  IF(CRC32(CONCAT('c', r.n)) MOD 3 = 0, NULL, 1 + CRC32(CONCAT('cu', r.n)) MOD 24000),
  r.rating,
  r.language,
  IF(r.n MOD 3 = 0, NULL, o.txt),
  CONCAT(o.txt, ' ', m.txt, ELT(1 + CRC32(CONCAT('e', r.n)) MOD 6, '.', '!', ' …', ' 🙂', '. 🌟', '.\n\n— table '), IF(CRC32(CONCAT('e', r.n)) MOD 6 = 5, 1 + r.n MOD 24, '')),
  CRC32(CONCAT('ta', r.n)) & CRC32(CONCAT('tb', r.n)) & 255,
  IF(r.n MOD 10 = 0, NULL, JSON_OBJECT('waited_minutes', CRC32(CONCAT('w', r.n)) MOD 45, 'would_return', r.rating >= 3, 'party', 1 + CRC32(CONCAT('pa', r.n)) MOD 6, 'device', ELT(1 + r.n MOD 3, 'phone', 'tablet', 'kiosk'))),
  IF(r.n MOD 17 = 0, NULL, (r.rating - 3) / 2.2e0 + CRC32(CONCAT('se', r.n)) MOD 1000 / 7001e0 - 0.07),
  IF(r.n MOD 23 = 0, '0000-00-00', DATE(DATE_ADD('2024-01-02', INTERVAL r.n * 1450 SECOND))),
  IF(r.n MOD 41 = 0, 4, 1 + (r.n MOD 5 > 0)),
  DATE_ADD('2024-01-02 07:00:00', INTERVAL r.n * 1450 + CRC32(CONCAT('rt', r.n)) MOD 1400 SECOND) + INTERVAL CRC32(CONCAT('ru', r.n)) MOD 1000000 MICROSECOND,
  NULL
FROM (
  SELECT n, business_id, language, rating, IF(rating >= 4, 2, rating = 3) AS mood
  FROM (
    SELECT n, 1 + CRC32(CONCAT('rb', n)) MOD 300 AS business_id,
      ELT(1 + CRC32(CONCAT('rr', n)) MOD 20, 1, 1, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5) + 0 AS rating
    FROM number WHERE n <= 62000) AS base
  STRAIGHT_JOIN place ON place.k = IF(n MOD 4 = 0, 1, (business_id DIV 6) MOD 10)) AS r
STRAIGHT_JOIN phrase o ON o.language = r.language AND o.part = 1 AND o.mood = r.mood AND o.k = CRC32(CONCAT('o', r.n)) MOD 3
STRAIGHT_JOIN middle m ON m.language = r.language AND m.mood = r.mood AND m.k = CRC32(CONCAT('m', r.n)) MOD 3
ORDER BY r.n;

-- Two thirds of the answers are the business's first, the others go on from it.
INSERT INTO replies (id, review_id, parent_id, author, body, created_at)
SELECT
  n.n, r.id,
  IF(n.n MOD 3 = 0, n.n - 2, NULL),
  IF(n.n MOD 3 = 0, 2, IF(n.n MOD 50 = 1, 3, 1)),
  CONCAT(
    IF(n.n MOD 3 = 0, 'Thanks for the quick answer', ELT(1 + n.n MOD 4, 'Thank you for your visit', 'Danke für Ihre Worte', 'Teşekkür ederiz', 'Merci beaucoup')),
    IF(r.rating >= 4, ' 💛', ''), '. ',
    ELT(1 + r.rating, '', 'We are sorry and would like to make it up to you.', 'We have spoken to the team.', 'Tell us what we can do better next time.', 'See you soon!', 'You made our day!')),
  r.created_at + INTERVAL 3600 + CRC32(CONCAT('re', n.n)) MOD 86400 SECOND
FROM number n STRAIGHT_JOIN reviews r ON r.id = IF(n.n MOD 3 = 0, n.n - 2, n.n) * 2 + 1
WHERE n.n <= 24000;

CREATE TEMPORARY TABLE basket (order_id INT UNSIGNED, line_number TINYINT UNSIGNED, product_id INT UNSIGNED, quantity SMALLINT UNSIGNED, unit_price DECIMAL(10,2), PRIMARY KEY (order_id, line_number)) AS
  SELECT n.n AS order_id, l.d + 1 AS line_number, p.id AS product_id, 1 + CRC32(CONCAT('qty', n.n, l.d)) MOD 3 AS quantity, p.price AS unit_price
  FROM number n STRAIGHT_JOIN ten l ON l.d <= CRC32(CONCAT('lines', n.n)) MOD 3 AND l.d < 3 - (n.n MOD 3 > 0)
  STRAIGHT_JOIN products p ON p.id = (CRC32(CONCAT('ob', n.n)) MOD 300) * 8 + 1 + (CRC32(CONCAT('first', n.n)) + l.d * 3) MOD 8
  WHERE n.n <= 38000;

INSERT INTO orders (id, order_number, business_id, customer_id, qr_code_id, status, currency, subtotal, tip, tax_rate, note, ordered_at, paid_at)
SELECT
  o.id, CONCAT('U', LPAD(o.business_id, 4, '0'), '-', LPAD(o.id, 8, '0')), o.business_id,
  IF(o.id MOD 3 = 0, NULL, 1 + CRC32(CONCAT('oc', o.id)) MOD 24000),
  IF(o.id MOD 8 = 0, NULL, (o.business_id - 1) * 5 + 1 + CRC32(CONCAT('oq', o.id)) MOD 5),
  o.status, currency, o.subtotal,
  ROUND(o.subtotal * (CRC32(CONCAT('tip', o.id)) MOD 4) / 25, 2),
  tax_rate,
  IF(o.id MOD 15 = 0, ELT(1 + CRC32(CONCAT('note', o.id)) MOD 5, 'no onions, please', 'gift wrap 🎁', 'nut allergy!', 'by the window', 'ohne Zucker'), NULL),
  o.ordered_at,
  IF(o.status IN (2, 4), o.ordered_at + INTERVAL 300 + CRC32(CONCAT('pd', o.id)) MOD 4000 SECOND, NULL)
FROM (
  SELECT order_id AS id, CRC32(CONCAT('ob', order_id)) MOD 300 + 1 AS business_id, SUM(quantity * unit_price) AS subtotal,
    ELT(1 + CRC32(CONCAT('st', order_id)) MOD 20, 1, 3, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2) + 0 AS status,
    DATE_ADD('2024-06-01 08:00:00', INTERVAL order_id * 2040 + CRC32(CONCAT('ot', order_id)) MOD 2000 SECOND) + INTERVAL CRC32(CONCAT('ou', order_id)) MOD 1000000 MICROSECOND AS ordered_at
  FROM basket GROUP BY order_id) AS o
STRAIGHT_JOIN place ON place.k = (o.business_id DIV 6) MOD 10
ORDER BY o.id;

INSERT INTO order_items (order_id, line_number, product_id, quantity, unit_price)
SELECT order_id, line_number, product_id, quantity, unit_price FROM basket ORDER BY order_id, line_number;

INSERT INTO topic_weights (topic, language, baseline, weight)
SELECT
  ELT(1 + d, 'service', 'food', 'price', 'cleanliness', 'noise', 'families', 'queue', 'parking', 'wifi', 'accessibility'),
  p.language,
  (d + 1) * 0.25 + p.k,
  CASE (d + p.k) MOD 3 WHEN 0 THEN (d + 1) / (p.k + 7) WHEN 1 THEN 0.5 + d / 8 ELSE -(d + 1) * 1.5 END
FROM ten STRAIGHT_JOIN place p;

/*M!100300 DO NEXTVAL(ticket_numbers) */;

SET SESSION foreign_key_checks = 1, unique_checks = 1;

-- ---------------------------------------------------------------------------
-- Views
-- ---------------------------------------------------------------------------

CREATE VIEW business_ratings AS
  SELECT b.id, b.name, b.category, b.city, COUNT(r.id) AS reviews, ROUND(AVG(r.rating), 2) AS average,
         SUM(r.mood = 'unhappy') AS unhappy
  FROM businesses b LEFT JOIN reviews r ON r.business_id = b.id AND r.status <> 'hidden'
  GROUP BY b.id, b.name, b.category, b.city;

-- A view on a view; its name sorts before the one it needs.
CREATE VIEW best_businesses AS
  SELECT id, name, city, average, reviews FROM business_ratings
  WHERE reviews >= 20 AND average >= 4.00 ORDER BY average DESC, id;

CREATE SQL SECURITY INVOKER VIEW unanswered_reviews AS
  SELECT r.id, b.name AS business, r.rating, r.title, r.body, r.created_at
  FROM reviews r JOIN businesses b ON b.id = r.business_id
  WHERE r.status = 'new' AND r.rating <= 2;

CREATE VIEW revenue_by_month AS
  SELECT business_id, currency, DATE_FORMAT(ordered_at, '%Y-%m') AS month, COUNT(*) AS orders,
         SUM(total) AS total, SUM(tax) AS tax
  FROM orders WHERE status = 'paid' GROUP BY business_id, currency, DATE_FORMAT(ordered_at, '%Y-%m');

-- ---------------------------------------------------------------------------
-- Triggers, routines, an event
-- ---------------------------------------------------------------------------

DELIMITER ;;

CREATE TRIGGER review_defaults BEFORE INSERT ON reviews FOR EACH ROW
BEGIN
  -- A title is what the list shows; take the first words when there is none.
  IF NEW.title IS NULL THEN
    SET NEW.title = SUBSTRING_INDEX(NEW.body, ' ', 4);
  END IF;
  SET NEW.body = TRIM(NEW.body);
END;;

CREATE TRIGGER review_history AFTER UPDATE ON reviews FOR EACH ROW
BEGIN
  IF NOT (OLD.rating <=> NEW.rating AND OLD.status <=> NEW.status) THEN
    INSERT INTO review_changes (review_id, change_text)
    VALUES (NEW.id, CONCAT_WS('; ',
      IF(OLD.rating <> NEW.rating, CONCAT('rating ', OLD.rating, ' → ', NEW.rating), NULL),
      IF(OLD.status <> NEW.status, CONCAT(OLD.status, ' → ', NEW.status), NULL)));
  END IF;
END;;

CREATE TRIGGER reply_answers_review AFTER INSERT ON replies FOR EACH ROW
  UPDATE reviews SET status = 'answered' WHERE id = NEW.review_id AND status IN ('new', 'published');;

CREATE FUNCTION stars(rating TINYINT UNSIGNED) RETURNS VARCHAR(5) CHARACTER SET utf8mb4
  DETERMINISTIC NO SQL
  COMMENT 'a rating as stars'
BEGIN
  RETURN CONCAT(REPEAT('★', rating), REPEAT('☆', 5 - rating));
END;;

CREATE PROCEDURE refresh_daily_ratings(IN first_day DATE, IN last_day DATE)
  MODIFIES SQL DATA
  COMMENT 'count the reviews of each business and day again'
BEGIN
  DELETE FROM daily_ratings WHERE day BETWEEN first_day AND last_day;
  INSERT INTO daily_ratings (business_id, day, reviews, average)
  SELECT business_id, DATE(created_at), COUNT(*), AVG(rating)
  FROM reviews
  WHERE created_at >= first_day AND created_at < last_day + INTERVAL 1 DAY AND status <> 'hidden'
  GROUP BY business_id, DATE(created_at);
END;;

-- Never fires: it is disabled, and its first day is far away.
CREATE EVENT nightly_ratings
  ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 02:00:00'
  ON COMPLETION PRESERVE DISABLE
  COMMENT 'keeps daily_ratings fresh'
  DO CALL refresh_daily_ratings(CURRENT_DATE - INTERVAL 1 DAY, CURRENT_DATE);;

DELIMITER ;

-- A little life after the first load: answered reviews, a changed mind, a new
-- review through the trigger, and one month of daily figures.
UPDATE reviews SET status = 'answered' WHERE id IN (SELECT review_id FROM replies WHERE id <= 300);
UPDATE reviews SET rating = 5 WHERE id MOD 1000 = 77 AND rating = 4;
INSERT INTO reviews (business_id, customer_id, rating, language, body, visited_on)
VALUES (1, 42, 5, 'en', '  Found my umbrella again. Thank you so much! ☂️  ', '2026-11-19');
SET @umbrella = LAST_INSERT_ID();
INSERT INTO replies (review_id, author, body)
VALUES (@umbrella, 'owner', 'It waited for you behind the counter 🙂');
CALL refresh_daily_ratings('2026-10-01', '2026-10-31');
