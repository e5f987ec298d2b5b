-- Sample data of the campaigns welcome, newsletter and personal-newsletter: active subscribers
-- @first to @last, and for every twentieth of them one who has left. Needs MariaDB, for its tables of
-- numbers. By hand, in a database of your own:
-- SET @first = 1, @last = 1000; SOURCE config/samples/subscribers.sql

CREATE TABLE IF NOT EXISTS subscriber (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  email VARCHAR(320) NOT NULL,
  name VARCHAR(255) NOT NULL,
  language CHAR(2) NOT NULL,
  city VARCHAR(64) NOT NULL,
  plan VARCHAR(32) NOT NULL,
  preferences JSON,               -- NULL: never chosen
  active TINYINT NOT NULL DEFAULT 1
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Who must get no mail.
CREATE OR REPLACE VIEW left_out AS SELECT id FROM subscriber WHERE NOT active;

-- Two in three have Korean names and read Korean; one in four has an emoji in the name.
INSERT INTO subscriber (id, email, name, language, city, plan, preferences)
SELECT seq, CONCAT('user', seq, '@example.net'),
       CONCAT(IF(seq % 3,
                 CONCAT(ELT(1 + seq DIV 20 % 15, '김', '이', '박', '최', '정', '강', '조', '윤', '장',
                            '임', '한', '오', '서', '신', '권'),
                        ELT(1 + (seq + 19) % 20, '민준', '서연', '지후', '하은', '도윤', '수아', '예준',
                            '지우', '시우', '서윤', '주원', '하윤', '건우', '민서', '은우', '다은',
                            '유준', '채원', '선우', '지민')),
                 ELT(1 + seq DIV 3 % 15, 'Zoë Ångström', 'José Muñoz', 'Łukasz Żółkiewski',
                     'Jürgen Groß', 'Chloé Lefèvre', 'Søren Kjær', 'João Gonçalves', 'Ayşe Yıldız',
                     'Nguyễn Thị Hạnh', 'Björk Þórsdóttir', 'Dvořák Jiří', 'Στέλιος Καζάν',
                     '山田 太郎', 'Seán O''Brien', 'Grace Hopper')),
              IF(seq % 4 = 1,
                 CONCAT(' ', ELT(1 + seq DIV 4 % 7, '🌷', '🎈', '☕️', '🚀', '🐑', '👩‍💻', '🇰🇷')), '')),
       IF(seq % 3, 'ko', 'en'),
       ELT(1 + (seq + 9) % 10, '서울', '부산', '제주', '대전', 'Zürich', 'Kraków', 'Reykjavík', 'Málaga',
           'İzmir', '京都'),
       ELT(1 + seq DIV 5 % 3, 'Free', 'Plus', 'Pro'),
       IF(seq % 7 = 0, NULL, JSON_OBJECT(
           'topics', JSON_OBJECT('technology', seq % 2 = 1, 'travel', seq % 5 IN (1, 2),
                                 'food', seq % 11 IN (2, 3, 4), 'books', seq % 3 = 2),
           'brief', seq % 7 = 3,
           'saved', JSON_EXTRACT(ELT(1 + seq % 4 + 4 * (seq % 3 = 0),
               '[]',
               '[{"title": "느린 도시를 걷는 법", "minutes": 6}, {"title": "서가의 빈자리", "minutes": 5}]',
               '[{"title": "된장 한 숟가락의 역사", "minutes": 8}]',
               '[{"title": "물때표를 읽는 사람들", "minutes": 12}]',
               '[]',
               '[{"title": "A bridge for one", "minutes": 4},
                 {"title": "Salt & patience", "minutes": 7}]',
               '[{"title": "Letters from the night train", "minutes": 9}]',
               '[{"title": "What the tide knows", "minutes": 12}]'), '$')))
FROM seq_1_to_10000000 WHERE seq BETWEEN @first AND @last;

INSERT INTO subscriber (id, email, name, language, city, plan, active)
SELECT 10000000 + seq, CONCAT('left', seq, '@example.net'), 'Long Gone', 'en', 'Boston', 'Free', 0
FROM seq_1_to_10000000 WHERE seq BETWEEN @first AND @last AND seq % 20 = 0;
